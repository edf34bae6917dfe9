"""Blobs in a folder and on a server keep one promise."""

import asyncio
import base64
import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import nats
import pytest

from eventstore.blobs import FolderBlobs
from eventstore.errors import LogFull, StoreUnavailable
from eventstore.oona.connection import Connection
from eventstore.oona.jetstream import JetStream
from eventstore.oona.objects import BUCKET, ObjectBlobs, create_bucket
from eventstore.oona.server import LocalServer
from tests.architecture.source_tree import ROOT
from tests.eventstore.blob_contract import LARGE, BlobContract

Spoil = Callable[[str, bytes], None]
MIB = 1024 * 1024
# The most that a process may grow by while it puts or gets 50 MiB: one such blob and half of another.
HALF_MORE_MIB = 75
HEAVY = """
import resource, sys
from eventstore.oona.objects import ObjectBlobs
peak_mib = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
url, digest = sys.argv[1:]
blobs = ObjectBlobs(url)
blobs.get(blobs.put(b"warm" * 300_000))
before = peak_mib()
if digest:
    assert len(blobs.get(digest)) == 50 * 2**20
    print(digest)
else:
    print(blobs.put(bytes(range(256)) * (50 * 4096)))
print(peak_mib() - before)
blobs.close()
"""


async def make_bucket(url: str, max_bytes: int = 256 * MIB) -> None:
    connection = Connection()
    await connection.open(url, name="test")
    await create_bucket(JetStream(connection), max_bytes)
    await connection.close()


class TestFolder(BlobContract):
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        return tmp_path / "blobs"

    @pytest.fixture
    def blobs(self, folder: Path) -> FolderBlobs:
        return FolderBlobs(folder)

    @pytest.fixture
    def spoil(self, folder: Path) -> Spoil:
        def write(digest: str, data: bytes) -> None:
            (folder / digest[:2] / digest).write_bytes(data)

        return write

    def test_no_draft_is_left(self, blobs: FolderBlobs, folder: Path):
        digest = blobs.put(LARGE)
        with pytest.raises(TypeError):
            blobs.put_chunks([b"x", None])  # pyright: ignore[reportArgumentType]
        assert [path.name for path in folder.rglob("*") if path.is_file()] == [digest]

    def test_what_nobody_has_put_lately_can_be_removed(self, blobs: FolderBlobs, folder: Path):
        old, young = blobs.put(b"old"), blobs.put(b"young")
        for digest in (old, young):
            os.utime(folder / digest[:2] / digest, (0, 0))
        assert blobs.put(b"young") == young
        assert (blobs.size(old), blobs.remove(old, untouched_s=60.0), blobs.size(old)) == (3, 3, 0)
        assert blobs.remove(young, untouched_s=60.0) == 0
        assert blobs.remove(old, untouched_s=60.0) == 0
        assert blobs.digests() == [young]
        assert blobs.get(blobs.put(b"old")) == b"old"

    def test_nothing_is_removed_while_somebody_makes_sure_that_it_is_there(
        self, blobs: FolderBlobs, monkeypatch: pytest.MonkeyPatch
    ):
        digest, lock = blobs.put(b"weights"), fcntl.flock
        monkeypatch.setattr(fcntl, "flock", lambda handle, kind: lock(handle, kind | fcntl.LOCK_NB))
        with blobs._locked(fcntl.LOCK_SH):
            assert blobs.put(b"weights") == digest
            with pytest.raises(BlockingIOError):
                blobs.remove(digest, untouched_s=0.0)
        assert blobs.remove(digest, untouched_s=0.0) == len(b"weights")


class TestServer(BlobContract):
    @pytest.fixture
    def blobs(self, nats_server: LocalServer) -> Iterator[ObjectBlobs]:
        asyncio.run(make_bucket(nats_server.url))
        blobs = ObjectBlobs(nats_server.url)
        yield blobs
        blobs.close()
        blobs.close()

    @pytest.fixture
    def spoil(self, nats_server: LocalServer) -> Spoil:
        return lambda digest, data: asyncio.run(_replace_chunks(nats_server.url, digest, data))

    def test_any_client_of_object_stores_reads_it(self, blobs: ObjectBlobs, nats_server: LocalServer):
        digest = blobs.put(LARGE)

        async def read() -> bytes | None:
            client = await nats.connect(nats_server.url)
            found = await (await client.jetstream().object_store(BUCKET)).get(digest)
            await client.close()
            return found.data

        assert asyncio.run(read()) == LARGE

    def test_fifty_mebibytes_are_never_in_memory_twice(self, blobs: ObjectBlobs, nats_server: LocalServer):
        digest, put_mib = heavy(nats_server.url, "")
        assert put_mib < HALF_MORE_MIB
        _, got_mib = heavy(nats_server.url, digest)
        assert got_mib < HALF_MORE_MIB
        most = max(len(chunk) for chunk in blobs.chunks(digest))
        assert most <= MIB

    def test_a_full_bucket_refuses_and_keeps_what_it_has(self, own_nats_server: LocalServer):
        asyncio.run(make_bucket(own_nats_server.url, MIB))
        blobs = ObjectBlobs(own_nats_server.url)
        digest = blobs.put(b"weights")
        with pytest.raises(LogFull):
            blobs.put(LARGE)
        assert blobs.get(digest) == b"weights"
        blobs.close()

    def test_a_server_that_is_gone_is_an_error_and_one_that_is_back_is_not(self, own_nats_server: LocalServer):
        asyncio.run(make_bucket(own_nats_server.url))
        blobs = ObjectBlobs(own_nats_server.url)
        digest = blobs.put(b"weights")
        own_nats_server.kill()
        with pytest.raises(StoreUnavailable):
            blobs.put(b"more")
        asyncio.run(own_nats_server.start())
        blobs._call(blobs._connection.until_back())  # pyright: ignore[reportPrivateUsage]
        assert blobs.get(digest) == b"weights"
        blobs.close()


def heavy(url: str, digest: str) -> tuple[str, float]:
    """Put 50 MiB, or get them, in a process of its own; return their digest and by how many MiB it grew."""
    ran = subprocess.run(
        [sys.executable, "-c", HEAVY, url, digest],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found, grown = ran.stdout.split()
    return found, float(grown)


async def _replace_chunks(url: str, digest: str, data: bytes) -> None:
    """Let the chunk of *digest* hold other bytes, as a faulty disk would."""
    client = await nats.connect(url)
    js = client.jetstream()
    subject = f"$O.{BUCKET}.M.{base64.urlsafe_b64encode(digest.encode()).decode()}"
    meta = json.loads((await js.get_last_msg(f"OBJ_{BUCKET}", subject)).data or b"")
    chunks = f"$O.{BUCKET}.C.{meta['nuid']}"
    await client.jsm().purge_stream(f"OBJ_{BUCKET}", subject=chunks)
    if data:
        await js.publish(chunks, data)
    await client.close()
