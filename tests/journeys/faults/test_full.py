"""No room: a full stream refuses by name, a full disk turns health red, and nothing acknowledged is lost."""

import asyncio
from pathlib import Path

import pytest

from eventstore.errors import LogFull, StoreUnavailable
from eventstore.oona import open_log
from eventstore.oona.connection import Connection
from eventstore.oona.jetstream import JetStream, StreamInfo
from eventstore.oona.monitor import is_healthy
from eventstore.oona.server import LocalServer
from eventstore.oona.streams import EVENTS, StreamSizes
from eventstore.store import EventStore
from tests.eventstore.vocabulary import OTHER, SEED, context, said
from tests.journeys.faults.conftest import RING, running
from tests.journeys.faults.disk import create, mounted, require_disk
from tests.journeys.faults.ledger import Ledger, tell

MIB = 1 << 20
OTHERS = {
    "commands_bytes": MIB,
    "dead_letters_bytes": MIB,
    "advisories_bytes": MIB,
    "nonces_bytes": MIB,
    "emergency_bytes": MIB,
    "telemetry_bytes": MIB,
}
TIGHT = StreamSizes(events_bytes=MIB // 4, **OTHERS)
ROOMY = StreamSizes(events_bytes=32 * MIB, **OTHERS)
A_LOT = "x" * 4096


async def raise_max_bytes(url: str, size: int) -> None:
    connection = Connection()
    await connection.open(url, name="operator")
    jetstream = JetStream(connection)
    info = await jetstream.stream_info(EVENTS)
    assert info is not None
    await jetstream.ask(f"STREAM.UPDATE.{EVENTS}", info.config | {"max_bytes": size}, StreamInfo, doing="growing")
    await connection.close()


async def test_a_full_stream_refuses_by_name_loses_nothing_and_goes_on_when_it_may_grow(own_nats_server: LocalServer):
    ledger, refused = Ledger(), context()
    async with open_log(own_nats_server.url, **RING, sizes=TIGHT) as log:
        with pytest.raises(LogFull):
            await ledger.write(log.store, SEED, asyncio.Event())
        full = await ledger.compare(log.store)
        with pytest.raises(LogFull):
            await log.store.append(OTHER, said(A_LOT), expected=0, context=refused)
        await raise_max_bytes(own_nats_server.url, MIB)
        await ledger.note(await log.store.append(OTHER, said(A_LOT), expected=0, context=refused))
        after = await ledger.compare(log.store)
    tell("full stream", full)
    assert full.sound
    assert full.unacknowledged == 0
    assert after.stored == full.stored + 1


def fill(disk: Path) -> None:
    """Take all the room that is left, as somebody else's files would."""
    with (disk / "ballast").open("wb", buffering=0) as ballast:
        try:
            while True:
                ballast.write(b"\0" * 65536)
        except OSError:
            return


async def test_a_full_disk_turns_health_red_and_nothing_is_acknowledged_in_vain(tmp_path: Path):
    require_disk()
    ledger = Ledger()
    with mounted(create(tmp_path / "disk.img", 96), tmp_path / "disk") as disk:
        async with running(disk / "server") as server:
            async with open_log(server.url, **RING, sizes=ROOMY) as log:
                for version in range(100):
                    await ledger.append(log.store, SEED, A_LOT, version)
                fill(disk)
                refusal = await first_refusal(log.store, ledger)
                healthy = is_healthy(server.monitor)
            (disk / "ballast").unlink()
            await server.stop()
            await server.start()
            async with open_log(server.url, **RING, sizes=ROOMY) as log:
                verdict = await ledger.compare(log.store)
                await ledger.append(log.store, OTHER, A_LOT, 0)
    tell(f"full disk, refused with {refusal!r}, healthy: {healthy}", verdict)
    assert not healthy
    assert verdict.sound


async def first_refusal(store: EventStore, ledger: Ledger) -> Exception:
    """Append until an append is refused or unanswered; everything acknowledged before that is in *ledger*."""
    for version in range(100, 5000):
        try:
            await ledger.note(await store.append(SEED, said(A_LOT), expected=version, context=context()))
        except (LogFull, StoreUnavailable) as refusal:
            return refusal
    raise AssertionError("the disk never became full")
