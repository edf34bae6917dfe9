"""Imports and restores killed half way: done again, they end with what they were to bring, once, and nothing else."""

import asyncio
import os
import random
import string
import sys
from asyncio.subprocess import PIPE, Process
from contextlib import aclosing
from pathlib import Path

from eventstore.archive import Exporter
from eventstore.blobs import FolderBlobs
from eventstore.oona import Oona, open_log
from eventstore.oona.backup import Ring, back_up
from eventstore.oona.connection import Connection
from eventstore.oona.jetstream import JetStream
from eventstore.oona.server import LocalServer
from eventstore.oona.streams import EVENTS
from eventstore.store import Recorded
from tests.eventstore.vocabulary import OTHER, SEED, context, said
from tests.journeys.faults.conftest import RING, running
from tests.journeys.faults.ledger import tell
from tests.journeys.faults.wire import Wire

COMMITS = 240
KILLED_AFTER = (30, 90, 180)
KILLED_AT_BYTES = (100_000, 400_000)
NOISE = random.Random(3)


async def write(log: Oona) -> list[Recorded]:
    """Fill a log with what does not compress, so that its copy takes a while; return what is in it."""
    for version in range(COMMITS // 2):
        for stream in (SEED, OTHER):
            word = "".join(NOISE.choices(string.ascii_letters, k=4000))
            await log.store.append(stream, said(word), expected=version, context=context())
    return await everything(log)


async def everything(log: Oona) -> list[Recorded]:
    return [event async for event in log.store.read_all()]


async def copying(*arguments: str) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.journeys.faults.copying", *arguments, stdout=PIPE
    )


async def result(process: Process) -> int:
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0
    return int(out)


async def kill(process: Process) -> None:
    assert process.returncode is None
    process.kill()
    await process.wait()


async def test_an_import_killed_three_times_writes_each_commit_once(
    log: Oona, own_nats_server: LocalServer, tmp_path: Path
):
    async with running(tmp_path / "source") as server, open_log(server.url, **RING) as source:
        wanted = await write(source)
        archive = tmp_path / "log.esper"
        await Exporter(RING["keys"], RING["types"], lambda: 1).export(source.store, [SEED, OTHER], archive, "all")
    arguments = ("import", own_nats_server.url, str(archive), str(tmp_path / "blobs"))
    for position in KILLED_AFTER:
        importing = await copying(*arguments)
        async with asyncio.timeout(60), aclosing(log.store.follow()) as following:
            while (await anext(following)).position < position:
                pass
        await kill(importing)
    here = len(await everything(log))
    written = await result(await copying(*arguments))
    brought = [event for event in await everything(log) if event.stream in (SEED, OTHER)]
    told = f"{here} commits were there, {written} more came; {len(brought)} of {COMMITS} in all"
    tell(f"import killed {len(KILLED_AFTER)} times", told)
    assert KILLED_AFTER[-1] <= here < COMMITS
    assert here + written == COMMITS
    assert [event.event_id for event in brought] == [event.event_id for event in wanted]


async def has_log(url: str) -> bool:
    connection = Connection()
    await connection.open(url, name="test")
    try:
        return await JetStream(connection).stream_info(EVENTS) is not None
    finally:
        await connection.close()


async def test_a_restore_killed_twice_leaves_no_log_and_the_third_restores_it_whole(tmp_path: Path):
    backup = tmp_path / "backup"
    ring = Ring(RING["keys"], RING["types"])
    async with running(tmp_path / "source") as server:
        async with open_log(server.url, **RING) as source:
            wanted = await write(source)
        await back_up(server.url, FolderBlobs(tmp_path / "none"), backup, ring, now_ns=1, environ=os.environ)
    async with running(tmp_path / "target") as server:
        left: list[bool] = []
        for sent in KILLED_AT_BYTES:
            async with Wire(server.url) as wire:
                restoring = await copying("restore", wire.url, str(backup), str(tmp_path / "blobs"))
                async with asyncio.timeout(60):
                    await wire.until_sent(sent)
                await kill(restoring)
            left.append(await has_log(server.url))
        commits = await result(await copying("restore", server.url, str(backup), str(tmp_path / "blobs")))
        async with open_log(server.url, **RING) as log:
            restored = await everything(log)
    tell(f"restore killed {len(left)} times, a log left behind: {left}", f"{commits} of {COMMITS} commits restored")
    assert left == [False, False]
    assert restored == wanted
