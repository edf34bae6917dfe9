"""A whole stream copied out of its server and put back by the server itself: positions, bytes and birth are kept."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable
from typing import Any

import msgspec
from nats.aio.msg import Msg

from eventstore.errors import BackupRefused, StoreUnavailable
from eventstore.oona.jetstream import Answer, JetStream, Refused, StreamInfo

CHUNK_BYTES = 128 * 1024
PATIENCE_S = 30.0


class CopyBegun(Answer, frozen=True):
    """What a copy is of: the stream's settings and extent, which putting it back needs again."""

    config: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])
    state: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])


class _RestoreBegun(Answer, frozen=True):
    deliver_subject: str = ""


class StreamCopy:
    """The copy of one stream as it stood when `begin` was answered, in chunks."""

    def __init__(self, jetstream: JetStream, stream: str) -> None:
        self._jetstream, self._stream = jetstream, stream
        self._arrived: asyncio.Queue[Msg] = asyncio.Queue()
        self._doing = f"copying {stream}"

    async def begin(self) -> CopyBegun:
        """Ask for the copy; `chunks` then brings it.

        Raises:
            StoreUnavailable: there was no answer, or it was no.
        """
        connection = self._jetstream.connection
        inbox = connection.new_inbox()
        self._subscription = await connection.subscribe(inbox, self._arrived.put)
        wish = {"deliver_subject": inbox, "no_consumers": True, "chunk_size": CHUNK_BYTES, "jsck": True}
        try:
            return await self._jetstream.ask(f"STREAM.SNAPSHOT.{self._stream}", wish, CopyBegun, doing=self._doing)
        except Refused as refused:
            raise StoreUnavailable(self._doing, refused.description) from refused

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the copy's bytes, in order.

        Raises:
            StoreUnavailable: the server stopped sending before the end.
        """
        connection = self._jetstream.connection
        try:
            while True:
                try:
                    async with asyncio.timeout(PATIENCE_S):
                        message = await self._arrived.get()
                except TimeoutError as error:
                    raise StoreUnavailable(self._doing, f"nothing came for {PATIENCE_S:g} s") from error
                if not message.data:
                    _refuse_unfinished(message, self._doing)
                    return
                yield message.data
                if message.reply:
                    await connection.publish(message.reply, b"", doing=self._doing)
        finally:
            await connection.unsubscribe(self._subscription)


async def put_back(jetstream: JetStream, begun: CopyBegun, chunks: AsyncIterable[bytes]) -> StreamInfo:
    """Create the stream that *begun* describes from its copy's *chunks*, and return what it is now.

    Raises:
        BackupRefused: the server takes no such stream: it has one, or the copy is damaged.
        StoreUnavailable: it did not answer.
    """
    stream = str(begun.config["name"])
    doing = f"putting {stream} back"
    try:
        # A copy is put onto one node, however many held the original: more cannot be asked of a server that is alone.
        wish = {"config": begun.config | {"num_replicas": 1}, "state": begun.state}
        where = await jetstream.ask(f"STREAM.RESTORE.{stream}", wish, _RestoreBegun, doing=doing)
        async for chunk in chunks:
            answer = await jetstream.connection.request(where.deliver_subject, chunk, doing=doing, wait_s=PATIENCE_S)
            _refuse_error(answer.data, doing)
        ended = await jetstream.connection.request(where.deliver_subject, b"", doing=doing, wait_s=PATIENCE_S)
        _refuse_error(ended.data, doing)
    except Refused as refused:
        raise BackupRefused(stream, refused.description) from refused
    info = await jetstream.stream_info(stream)
    if info is None:
        raise BackupRefused(stream, "the server accepted the copy, and has no stream of that name")
    return info


def _refuse_unfinished(message: Msg, doing: str) -> None:
    """The copy ends with an empty message; one with a status that is no success says why it ended early."""
    status = (message.headers or {}).get("Status", "")
    if status and not status.startswith("2"):
        raise StoreUnavailable(doing, (message.headers or {}).get("Description", status))


def _refuse_error(data: bytes, doing: str) -> None:
    if data:
        answer = msgspec.json.decode(data, type=Answer)
        if answer.error is not None:
            raise Refused(doing, answer.error.code, answer.error.err_code, answer.error.description)
