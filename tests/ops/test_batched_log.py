"""What looks after the log's files takes commits that came in batches like any others."""

import asyncio
import os
from pathlib import Path

from eventstore.blobs import FolderBlobs
from eventstore.oona import open_log
from eventstore.oona.backup import Ring, back_up, restore
from eventstore.oona.server import LocalServer
from eventstore.signing import Keys
from eventstore.store import Recorded, StreamName
from ops.cli.blocks import check_frames
from tests.eventstore.vocabulary import TYPES, context, said

STREAMS = [StreamName("seed", f"g{number}") for number in range(60)]
KEYS = Keys("k")
RING = Ring(KEYS, TYPES)


async def record(server: LocalServer, versions: int) -> None:
    async with open_log(server.url, keys=KEYS, types=TYPES, commands=TYPES) as log:
        for version in range(versions):
            await asyncio.gather(
                *(log.store.append(stream, said("x"), expected=version, context=context()) for stream in STREAMS)
            )


async def everything(server: LocalServer) -> list[Recorded]:
    async with open_log(server.url, keys=KEYS, types=TYPES, commands=TYPES) as log:
        return [event async for event in log.store.read_all()]


async def test_the_frames_of_a_batch_are_sound(own_nats_server: LocalServer):
    await record(own_nats_server, 3)
    assert check_frames(own_nats_server.folder / "nats") > 0
    assert b"Nats-Batch-Commit" in b"".join(block.read_bytes() for block in own_nats_server.folder.rglob("*.blk"))


async def test_a_log_of_batches_comes_back_whole_from_a_backup(own_nats_server: LocalServer, tmp_path: Path):
    await record(own_nats_server, 3)
    saved, blobs = tmp_path / "backup", FolderBlobs(tmp_path / "blobs")
    backup = await back_up(own_nats_server.url, blobs, saved, RING, now_ns=1, environ=os.environ)
    server = LocalServer(tmp_path / "other", tied=True)
    await server.start()
    try:
        checked = await restore(saved, server.url, tmp_path / "restored", RING, progress=lambda done, of: None)
        assert await everything(server) == await everything(own_nats_server)
    finally:
        await server.stop()
    assert (checked.commits, checked.fault) == (backup.checked.commits, None) == (3 * len(STREAMS), None)
