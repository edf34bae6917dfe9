"""A reader that stops reading its socket: the server drops it, and it comes back where it was."""

import asyncio
import json
import urllib.request
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import stamina

from eventstore.oona import open_log
from eventstore.oona.server import LocalServer
from eventstore.store import Recorded
from tests.eventstore.vocabulary import SEED, context, said
from tests.journeys.faults.conftest import RING, running
from tests.journeys.faults.ledger import Ledger, tell
from tests.journeys.faults.wire import Wire

WORD = "x" * 100_000
BEFORE, AFTER, LARGE = 250, 50, 120
# Ten seconds unless told otherwise.
PATIENCE = {"write_deadline": "2s"}


class NotDropped(Exception):
    """The server still waits for the reader."""


def slow_consumers(monitor: str) -> int:
    """Return how many clients the server has dropped because they did not read."""
    with urllib.request.urlopen(f"{monitor}/varz", timeout=5) as answer:  # noqa: S310 a server of our own
        return json.loads(answer.read())["slow_consumers"]


async def until_dropped(monitor: str) -> int:
    async for attempt in stamina.retry_context(on=NotDropped, attempts=None, timeout=30, wait_max=0.2):
        with attempt:
            dropped = await asyncio.to_thread(slow_consumers, monitor)
            if not dropped:
                raise NotDropped
            return dropped
    raise AssertionError("a retry context ends by returning or raising")


async def test_a_reader_that_stops_reading_is_dropped_and_comes_back_without_gap_or_double(tmp_path: Path):
    ledger = Ledger()
    async with running(tmp_path / "server", **PATIENCE) as server, Wire(server.url) as wire:  # noqa: SIM117 the wire first
        async with open_log(server.url, **RING) as writer, open_log(wire.url, **RING) as reader:
            for version in range(BEFORE):
                await ledger.append(writer.store, SEED, WORD, version)
            async with aclosing(reader.store.follow()) as following:
                seen = [(await anext(following)).version]
                wire.stall()
                read_on = asyncio.ensure_future(_versions(following, BEFORE + AFTER - 1))
                dropped = await until_dropped(server.monitor)
                for version in range(BEFORE, BEFORE + AFTER):
                    await ledger.append(writer.store, SEED, WORD, version)
                wire.flow()
                async with asyncio.timeout(60):
                    seen += await read_on
            verdict = await ledger.compare(writer.store)
            await reader.store.append(SEED, said("last"), expected=BEFORE + AFTER, context=context())
    tell(f"reader dropped {dropped} times by the server, {len(seen)} events read", verdict)
    assert seen == list(range(1, BEFORE + AFTER + 1))
    assert verdict.sound
    assert verdict.stored == BEFORE + AFTER


async def test_a_log_of_large_commits_that_a_server_cannot_hold_for_a_reader_is_read(
    own_nats_server: LocalServer,
):
    async with open_log(own_nats_server.url, **RING) as log:
        for version in range(LARGE):
            await log.store.append(SEED, said("x" * 900_000), expected=version, context=context())
        read = [event.version async for event in log.store.read_all()]
    tell(f"{LARGE} commits of 0.9 MB", f"{len(read)} read, {slow_consumers(own_nats_server.monitor)} readers dropped")
    assert read == list(range(1, LARGE + 1))


async def _versions(following: AsyncGenerator[Recorded, None], many: int) -> list[int]:
    return [(await anext(following)).version for _ in range(many)]
