"""A simulated power cut: what had reached the disk's image is all that the server gets back."""

import asyncio
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from eventstore.oona import open_log
from eventstore.oona.streams import StreamSizes
from eventstore.store import StreamName
from tests.journeys.faults.conftest import RING, running
from tests.journeys.faults.disk import create, mounted, require_disk
from tests.journeys.faults.ledger import Ledger, Verdict, tell

DISK_MIB = 192
COMMITS = 300
SYNCED = 100
MIB = 1 << 20
SMALL = StreamSizes(
    events_bytes=16 * MIB,
    commands_bytes=MIB,
    dead_letters_bytes=MIB,
    advisories_bytes=MIB,
    nonces_bytes=MIB,
    emergency_bytes=MIB,
    telemetry_bytes=MIB,
)


async def cut_and_compare(folder: Path, *, durable: bool) -> Verdict:
    """Write, freeze the server, take the disk as it is, and read it back with a new server.

    The copy of the image is what a dead machine leaves: blocks that the kernel had not written are not in it. In the
    middle the whole disk is synced once, so that the stream's own files are there and only events are at stake.
    """
    ledger, image = Ledger(), create(folder / "disk.img", DISK_MIB)
    with mounted(image, folder / "alive"):
        async with running(folder / "alive" / "server", **sync(folder / "alive", durable=durable)) as server:
            async with open_log(server.url, **RING, sizes=SMALL) as log:
                for version in range(COMMITS):
                    if version == SYNCED:
                        await asyncio.to_thread(subprocess.run, ["sync", "-f", folder / "alive"], check=True)
                    await ledger.append(log.store, StreamName("seed", "s0"), "x", version)
            os.kill(server.pid or 0, signal.SIGSTOP)
            shutil.copyfile(image, folder / "after.img")
    with mounted(folder / "after.img", folder / "after"):
        async with running(folder / "after" / "server") as server, open_log(server.url, **RING, sizes=SMALL) as log:
            return await ledger.compare(log.store)


def sync(disk: Path, *, durable: bool) -> dict[str, object]:
    """Return nothing, for our own setting; or a JetStream without `sync_interval`: the server's default."""
    return {} if durable else {"jetstream": {"store_dir": str(disk / "server" / "nats")}}


@pytest.fixture(autouse=True)
def needs_a_disk() -> None:
    require_disk()


async def test_a_durable_log_survives_a_power_cut_whole(tmp_path: Path):
    verdict = await cut_and_compare(tmp_path, durable=True)
    tell("power cut, sync_interval always", verdict)
    assert verdict.acknowledged == verdict.stored == COMMITS
    assert verdict.sound


async def test_at_the_servers_default_the_same_power_cut_loses_acknowledged_events(tmp_path: Path):
    verdict = await cut_and_compare(tmp_path, durable=False)
    tell("power cut, the server's default", verdict)
    assert verdict.acknowledged == COMMITS
    assert verdict.lost > 0
