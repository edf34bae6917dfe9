"""kill -9 of the server in the middle of appends: what was acknowledged is there, once."""

import asyncio

import pytest

from eventstore.oona import Oona
from eventstore.oona.server import LocalServer
from eventstore.store import StreamName
from tests.journeys.faults.ledger import Ledger, tell

WRITERS = 4
ACKNOWLEDGED_PER_KILL = 50


async def campaign(log: Oona, server: LocalServer, kills: int) -> None:
    ledger, stop = Ledger(), asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for number in range(WRITERS):
            tasks.create_task(ledger.write(log.store, StreamName("seed", f"w{number}"), stop))
        for kill in range(1, kills + 1):
            await ledger.until(kill * ACKNOWLEDGED_PER_KILL)
            server.kill()
            await server.start()
        await ledger.until(kills * ACKNOWLEDGED_PER_KILL + WRITERS)
        stop.set()
    verdict = await ledger.compare(log.store)
    tell(f"{kills} kills of the server, {ledger.retries} retries", verdict)
    assert verdict.sound
    assert verdict.acknowledged >= kills * ACKNOWLEDGED_PER_KILL
    assert verdict.unacknowledged == 0


async def test_no_acknowledged_commit_is_lost_over_three_kills(log: Oona, own_nats_server: LocalServer):
    await campaign(log, own_nats_server, kills=3)


@pytest.mark.slow
async def test_no_acknowledged_commit_of_a_thousand_is_lost_over_twenty_kills(log: Oona, own_nats_server: LocalServer):
    await campaign(log, own_nats_server, kills=20)
