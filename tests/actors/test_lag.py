"""What waits for an actor is what it has not settled yet, and not what its stream still holds."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import pytest

from actors.place import Place
from actors.wellbeing import _waiting
from esper.leyline.registry import COMMANDS, EVENTS
from eventstore.oona import Oona, open_log
from eventstore.oona.server import LocalServer
from tests.actors.workshop import kernel_spec, request


@pytest.fixture
async def log(tmp_path: Path, own_nats_server: LocalServer) -> AsyncGenerator[Oona, None]:
    place = Place.at(tmp_path, {})
    async with open_log(own_nats_server.url, keys=place.keys, types=EVENTS, commands=COMMANDS) as log:
        yield log


async def test_depth_counts_what_is_undelivered_or_unsettled_and_falls_with_every_ack(
    log: Oona, own_nats_server: LocalServer
):
    depths: list[int] = []
    for seed in range(3):
        await request(log.bus, kernel_spec("BP001", init_seed=seed))
    async with aclosing(log.bus.commands("urza")) as commands:
        for _ in range(3):
            delivery = await anext(commands)
            depths.append(_waiting(own_nats_server.monitor, 5.0)["librarian"])
            await delivery.ack()
    depths.append(_waiting(own_nats_server.monitor, 5.0)["librarian"])
    assert depths == [3, 2, 1, 0]
