"""The server comes back with another store: projections and followers refuse it, nothing is rebuilt from it."""

import shutil
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

import pytest

from eventstore.errors import LogReplaced
from eventstore.oona import open_log
from eventstore.oona.server import LocalServer
from eventstore.projection.rebuild import content_hash
from eventstore.projection.runner import catch_up
from eventstore.projection.sink import Sink
from eventstore.store import EventStore
from tests.eventstore.vocabulary import SEED, context, said
from tests.journeys.faults.conftest import RING, running
from tests.journeys.faults.ledger import tell
from tests.journeys.faults.spoken import CATALOGUE

PROJECTED = 20


async def write(store: EventStore, first: int, last: int) -> None:
    for version in range(first, last):
        await store.append(SEED, said(f"{version}"), expected=version, context=context())


async def older(server: LocalServer, folder: Path) -> None:
    shutil.rmtree(folder / "nats")
    shutil.copytree(folder / "older", folder / "nats")
    await server.start()


async def empty(server: LocalServer, folder: Path) -> None:
    shutil.rmtree(folder / "nats")
    await server.start()


async def recreated(server: LocalServer, folder: Path) -> None:
    """As long as the one that was lost, and longer: only its birth tells it from that one."""
    await empty(server, folder)
    async with open_log(server.url, **RING) as log:
        await write(log.store, 0, PROJECTED + 5)


@pytest.mark.parametrize("replace", [older, empty, recreated], ids=lambda replace: replace.__name__)
async def test_a_server_with_another_store_is_refused(tmp_path: Path, replace: Callable[..., object]):
    folder, sink = tmp_path / "server", Sink(tmp_path / "p.duckdb", CATALOGUE)
    async with running(folder) as server:
        async with open_log(server.url, **RING) as log:
            await write(log.store, 0, PROJECTED // 2)
        await server.stop()
        shutil.copytree(folder / "nats", folder / "older")
        await server.start()
        async with open_log(server.url, **RING) as follower:
            await write(follower.store, PROJECTED // 2, PROJECTED)
            await catch_up(follower.store, sink)
            rows = content_hash(sink.connection)
            async with aclosing(follower.store.follow(after=PROJECTED - 1)) as following:
                await anext(following)
                await server.stop()
                await replace(server, folder)
                with pytest.raises(LogReplaced) as seen_live:
                    await anext(following)
            with pytest.raises(LogReplaced) as seen_at_start:
                await catch_up(follower.store, sink)
    tell(f"{replace.__name__} store", f"follower: {seen_live.value}; projection: {seen_at_start.value}")
    assert content_hash(sink.connection) == rows
    sink.close()
