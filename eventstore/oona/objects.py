"""Big bytes on the NATS server, by the SHA-256 of their content: for machines that share a log and no disk.

The layout is that of NATS object stores (ADR-20), so that any of its clients can list and read them. An object is named
by its digest. Its chunks are stored first and the message that names them last: what was cut off half-way takes up
space, and is never a blob.
"""

import asyncio
import base64
import hashlib
import re
import threading
import time
from collections.abc import AsyncGenerator, Coroutine, Iterable, Iterator
from contextlib import aclosing
from io import BytesIO
from typing import Any, TypeVar
from uuid import uuid4

import msgspec

from eventstore.errors import BlobCorrupt, BlobMissing, LogFull, StoreUnavailable
from eventstore.oona.connection import Connection
from eventstore.oona.credentials import Login
from eventstore.oona.jetstream import (
    CREATION_WAIT_S,
    HEADER_ROOM_BYTES,
    LOG_FULL,
    Answer,
    JetStream,
    Refused,
    StreamInfo,
)

BUCKET = "esper-blobs"
STREAM = f"OBJ_{BUCKET}"
CHUNK_BYTES = 512 * 1024
# The server hands a chunk out in base64.
_GROWTH = 3 / 4
_DIGEST = re.compile(r"[0-9a-f]{64}")
Result = TypeVar("Result")


class _Meta(msgspec.Struct, frozen=True, kw_only=True):
    """What names an object's chunks."""

    name: str
    bucket: str = BUCKET
    nuid: str
    size: int
    chunks: int
    digest: str
    mtime: str = ""


class _Subjects(msgspec.Struct, frozen=True):
    subjects: dict[str, int] = {}


class _Named(Answer, frozen=True):
    total: int = 0
    state: _Subjects = _Subjects()


async def create_bucket(jetstream: JetStream, max_bytes: int = -1, replicas: int = 1) -> None:
    """Make room for blobs on the server, where there is none yet.

    Raises:
        StoreUnavailable: the server did not answer, or did not want to.
    """
    if await jetstream.stream_info(STREAM) is not None:
        return
    config = {
        "name": STREAM,
        "subjects": [f"$O.{BUCKET}.C.>", f"$O.{BUCKET}.M.>"],
        "storage": "file",
        "discard": "new",
        "allow_rollup_hdrs": True,
        "allow_direct": True,
        "max_bytes": max_bytes,
        "num_replicas": replicas,
    }
    doing = f"creating {STREAM}"
    try:
        await jetstream.ask(f"STREAM.CREATE.{STREAM}", config, StreamInfo, doing=doing, wait_s=CREATION_WAIT_S)
    except Refused as refused:
        if await jetstream.stream_info(STREAM) is None:
            raise StoreUnavailable(doing, refused.description) from refused


class _Objects:
    """Objects over one connection."""

    def __init__(self, jetstream: JetStream) -> None:
        self._jetstream = jetstream

    async def put(self, data: bytes) -> str:
        digest = hashlib.sha256(data).hexdigest()
        if not await self._is_sound(digest):
            await self.put_chunks([data])
        return digest

    async def put_chunks(self, chunks: Iterable[bytes]) -> str:
        nuid, hashed, size, many = uuid4().hex, hashlib.sha256(), 0, 0
        room = int((self._jetstream.connection.max_payload - HEADER_ROOM_BYTES) * _GROWTH)
        for piece in _pieces(chunks, min(CHUNK_BYTES, room)):
            await self._store(f"$O.{BUCKET}.C.{nuid}", piece, {"Nats-Msg-Id": f"{nuid}-{many}"})
            hashed.update(piece)
            size, many = size + len(piece), many + 1
        digest = hashed.hexdigest()
        named = f"SHA-256={base64.urlsafe_b64encode(hashed.digest()).decode()}"
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        meta = _Meta(name=digest, nuid=nuid, size=size, chunks=many, digest=named, mtime=now)
        await self._store(_subject(digest), msgspec.json.encode(meta), {"Nats-Rollup": "sub"})
        return digest

    async def chunks(self, digest: str) -> AsyncGenerator[bytes, None]:
        stored = await self._jetstream.last_message(STREAM, _subject(digest)) if _DIGEST.fullmatch(digest) else None
        if stored is None:
            raise BlobMissing(digest)
        hashed = hashlib.sha256()
        meta, position = msgspec.json.decode(stored.data, type=_Meta), 0
        for _ in range(meta.chunks):
            chunk = await self._jetstream.next_message(STREAM, f"$O.{BUCKET}.C.{meta.nuid}", position + 1)
            if chunk is None:
                break
            position = chunk.seq
            hashed.update(chunk.data)
            yield chunk.data
        if hashed.hexdigest() != digest:
            raise BlobCorrupt(digest, hashed.hexdigest())

    async def get(self, digest: str) -> bytes:
        # Hands out what it has collected without copying it.
        collected = BytesIO()
        async with aclosing(self.chunks(digest)) as chunks:
            async for chunk in chunks:
                collected.write(chunk)
        return collected.getvalue()

    async def bucket(self) -> StreamInfo | None:
        return await self._jetstream.stream_info(STREAM)

    async def digests(self) -> list[str]:
        names = f"$O.{BUCKET}.M."
        doing = f"listing the blobs in {STREAM}"
        found: list[str] = []
        while True:
            body = {"subjects_filter": f"{names}>", "offset": len(found)}
            try:
                page = await self._jetstream.ask(f"STREAM.INFO.{STREAM}", body, _Named, doing=doing)
            except Refused as refused:
                raise StoreUnavailable(doing, refused.description) from refused
            found += [base64.urlsafe_b64decode(subject.removeprefix(names)).decode() for subject in page.state.subjects]
            if not page.state.subjects or len(found) >= page.total:
                return sorted(found)

    async def _is_sound(self, digest: str) -> bool:
        try:
            async with aclosing(self.chunks(digest)) as chunks:
                async for _ in chunks:
                    pass
        except (BlobMissing, BlobCorrupt):
            return False
        return True

    async def _store(self, subject: str, data: bytes, headers: dict[str, str]) -> None:
        doing = f"storing a blob in {STREAM}"
        try:
            await self._jetstream.publish(subject, data, headers | {"Nats-Expected-Stream": STREAM}, doing=doing)
        except Refused as refused:
            if refused.err_code in LOG_FULL:
                raise LogFull(STREAM, refused.description) from refused
            raise StoreUnavailable(doing, refused.description) from refused


class ObjectBlobs:
    """A `BlobStore` in a bucket of the server, over a connection and an event loop of its own; close it at the end."""

    def __init__(self, url: str, *, login: Login | None = None, authority: str = "", name: str = "blobs") -> None:
        """Connect to *url*, whose server has the bucket.

        Raises:
            StoreUnavailable: no server there.
        """
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="blobs", daemon=True)
        self._thread.start()
        try:
            self._connection = self._call(_connected(url, login, authority, name))
        except BaseException:
            self._end_loop()
            raise
        self._objects = _Objects(JetStream(self._connection))

    def put(self, data: bytes) -> str:
        """Store *data* durably and return its digest (64 hex digits). Safe to call from any thread or process.

        Raises:
            StoreUnavailable: not known whether it was stored; put it again.
            LogFull: it was not stored.
        """
        return self._call(self._objects.put(data))

    def put_chunks(self, chunks: Iterable[bytes]) -> str:
        """As `put`, of what *chunks* make together, never all of it in memory. What is there already is stored anew."""
        return self._call(self._objects.put_chunks(chunks))

    def get(self, digest: str) -> bytes:
        """Return the bytes whose SHA-256 is *digest*, verified.

        Raises:
            BlobMissing: there is none, or *digest* is not one.
            BlobCorrupt: the stored bytes have another digest; they are kept for inspection.
            StoreUnavailable: the server did not answer.
        """
        return self._call(self._objects.get(digest))

    def chunks(self, digest: str) -> Iterator[bytes]:
        """Yield the bytes whose SHA-256 is *digest* bit by bit. They are verified at the end: use nothing before it.

        Raises: as `get`, `BlobCorrupt` after the last chunk.
        """
        chunks = self._objects.chunks(digest)
        try:
            while (chunk := self._call(_next(chunks))) is not None:
                yield chunk
        finally:
            self._call(_end(chunks))

    def has_bucket(self) -> bool:
        """Whether the server has room for blobs."""
        return self._call(self._objects.bucket()) is not None

    def digests(self) -> list[str]:
        """Return the digest of every blob there is."""
        return self._call(self._objects.digests())

    def close(self) -> None:
        """Close the connection and end its thread; twice is harmless."""
        if self._thread.is_alive():
            self._call(self._connection.close())
            self._end_loop()

    def _call(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def shared_blobs(url: str, *, login: Login | None = None, authority: str = "") -> ObjectBlobs | None:
    """Return the blobs on the server at *url*, or None if it has no bucket for them.

    Raises:
        StoreUnavailable: no server there.
    """
    blobs = ObjectBlobs(url, login=login, authority=authority)
    if blobs.has_bucket():
        return blobs
    blobs.close()
    return None


async def _connected(url: str, login: Login | None, authority: str, name: str) -> Connection:
    connection = Connection()
    await connection.open(url, name=name, login=login, authority=authority)
    return connection


async def _next(chunks: AsyncGenerator[bytes, None]) -> bytes | None:
    return await anext(chunks, None)


async def _end(chunks: AsyncGenerator[bytes, None]) -> None:
    await chunks.aclose()


def _subject(digest: str) -> str:
    return f"$O.{BUCKET}.M.{base64.urlsafe_b64encode(digest.encode()).decode()}"


def _pieces(chunks: Iterable[bytes], most: int) -> Iterator[bytes]:
    """Cut *chunks* so that each piece fits into a message; nothing is copied but the piece at hand."""
    for chunk in chunks:
        view = memoryview(chunk)
        for start in range(0, len(view), most):
            yield bytes(view[start : start + most])
