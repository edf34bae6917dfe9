"""The few requests of JetStream's API that Oona makes, with typed answers."""

import asyncio
import logging
import random
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeVar
from uuid import uuid4

import msgspec

from eventstore.errors import EventStoreError, StoreUnavailable
from eventstore.oona.connection import REQUEST_WAIT_S, Connection
from eventstore.oona.publishing import Publisher

NOT_FOUND = 404
NO_MESSAGE_FOUND = 10037
CONSUMER_EXISTS = 10148
STREAM_NOT_FOUND = 10059
WRONG_LAST_SEQUENCE = 10071
WRITE_UNDER_WAY = 10164
"""A cluster's word for a wrong last sequence while another write to the subject is on its way through it."""
BATCHES_REFUSED = frozenset({10174, 10177})
"""The stream takes no batches, or none with the headers that an append needs."""
LOG_FULL = frozenset({10023, 10047, 10077})

PUBLISH_PATIENCE_S = 5.0
CREATION_WAIT_S = 20.0
"""Creating something, the server writes and syncs several files: on a busy disk that takes seconds."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 1.0
HEADER_ROOM_BYTES = 4096

_log = logging.getLogger("eventstore.oona")


class Refused(EventStoreError):
    """JetStream's own error answer to *doing*; callers turn the codes they know into errors of the store."""

    def __init__(self, doing: str, code: int, err_code: int, description: str) -> None:
        self.doing, self.code, self.err_code, self.description = doing, code, err_code, description
        super().__init__(f"refused while {doing}: {description} ({err_code})")


class _Error(msgspec.Struct, frozen=True):
    code: int
    err_code: int = 0
    description: str = ""


class Answer(msgspec.Struct, frozen=True):
    """What every answer may carry."""

    error: _Error | None = None


class Published(Answer, frozen=True):
    """Where a message was stored; `duplicate` if it had been before, within the server's window."""

    seq: int = 0
    duplicate: bool = False
    batch: str = ""
    count: int = 0


class Outgoing(msgspec.Struct, frozen=True):
    """One message to store."""

    subject: str
    data: bytes
    headers: dict[str, str]


class StoredMessage(msgspec.Struct, frozen=True):
    """A message as the leader of its stream holds it."""

    subject: str
    seq: int
    time: datetime
    data: bytes = b""
    hdrs: bytes = b""

    @property
    def stored_at_ns(self) -> int:
        """When the server stored it, to the microsecond."""
        return round(self.time.timestamp() * 1e6) * 1000


class _MessageAnswer(Answer, frozen=True):
    message: StoredMessage | None = None


class StreamState(msgspec.Struct, frozen=True):
    """The sequences that a stream spans."""

    first_seq: int
    last_seq: int
    bytes: int = 0


class StreamInfo(Answer, frozen=True):
    """A stream's settings, birth and extent."""

    created: datetime | None = None
    config: dict[str, Any] = {}
    state: StreamState = StreamState(0, 0)


class ConsumerInfo(Answer, frozen=True):
    """A consumer's name and settings."""

    name: str = ""
    config: dict[str, Any] = {}


Kind = TypeVar("Kind", bound=Answer)


class JetStream:
    """JetStream over one connection."""

    def __init__(self, connection: Connection, *, patience_s: float = PUBLISH_PATIENCE_S) -> None:
        self.connection = connection
        self._patience_s = patience_s
        self._publisher = Publisher(connection)

    async def ask(
        self, verb: str, body: object, kind: type[Kind], *, doing: str, wait_s: float = REQUEST_WAIT_S
    ) -> Kind:
        """Send one API request.

        Raises:
            Refused: the server answered with an error.
            StoreUnavailable: it did not answer.
        """
        payload = b"" if body is None else msgspec.json.encode(body)
        message = await self.connection.request(f"$JS.API.{verb}", payload, doing=doing, wait_s=wait_s)
        return _decode(message.data, kind, doing)

    async def publish(self, subject: str, data: bytes, headers: dict[str, str], *, doing: str) -> Published:
        """Store one message, resending it unchanged while the stream has no leader or is slow.

        Raises:
            Refused: the server answered with an error; nothing was stored.
            StoreUnavailable: not known whether it was stored.
        """
        give_up_s, pause_s = time.monotonic() + self._patience_s, FIRST_PAUSE_S
        while True:
            try:
                return await self._publish(subject, data, headers, doing)
            except StoreUnavailable as error:
                if not self.connection.connected or time.monotonic() + pause_s > give_up_s:
                    raise
                _log.info("sent again: %s", error)
            # Writers that lost one leader together must not all come back in the same moment.
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    async def publish_together(self, messages: Sequence[Outgoing], *, doing: str) -> Published:
        """Store *messages* in one atomic batch and return where the last one is; the others are right before it.

        Nothing is resent: what became of a batch that was not answered is told by reading, message by message. The
        server forgets one whose end does not come within ten seconds.

        Raises:
            Refused: the server answered with an error; none was stored.
            StoreUnavailable: not known whether they were stored.
        """
        batch = uuid4().hex
        for number, message in enumerate(messages[:-1], start=1):
            await self.connection.publish(
                message.subject, message.data, doing=doing, headers=_in_batch(message, batch, number)
            )
        last = messages[-1]
        headers = _in_batch(last, batch, len(messages)) | {"Nats-Batch-Commit": "1"}
        published = await self._publish(last.subject, last.data, headers, doing)
        if (published.batch, published.count) != (batch, len(messages)):
            raise StoreUnavailable(doing, "an answer that is none to a batch")
        return published

    async def _publish(self, subject: str, data: bytes, headers: dict[str, str], doing: str) -> Published:
        answer = await self._publisher.publish(subject, data, headers, doing=doing, wait_s=REQUEST_WAIT_S)
        return _decode(answer.data, Published, doing)

    async def last_message(self, stream: str, subject: str) -> StoredMessage | None:
        """Return the newest message on *subject* from the stream's leader (a direct get may be stale)."""
        return await self._message(stream, {"last_by_subj": subject})

    async def first_message(self, stream: str, subject: str) -> StoredMessage | None:
        """Return the oldest message on *subject* from the stream's leader."""
        return await self._message(stream, {"seq": 1, "next_by_subj": subject})

    async def message(self, stream: str, sequence: int) -> StoredMessage | None:
        """Return the message stored at *sequence*, from the stream's leader."""
        return await self._message(stream, {"seq": sequence})

    async def next_message(self, stream: str, subject: str, sequence: int) -> StoredMessage | None:
        """Return the first message on *subject* stored at *sequence* or later, from the stream's leader."""
        return await self._message(stream, {"seq": sequence, "next_by_subj": subject})

    async def _message(self, stream: str, body: dict[str, object]) -> StoredMessage | None:
        doing = f"reading {stream}"
        try:
            answer = await self.ask(f"STREAM.MSG.GET.{stream}", body, _MessageAnswer, doing=doing)
        except Refused as refused:
            if refused.err_code == NO_MESSAGE_FOUND:
                return None
            raise StoreUnavailable(doing, refused.description) from refused
        return answer.message

    async def delete(self, stream: str, sequence: int) -> None:
        """Overwrite and remove the message stored at *sequence*; harmless if there is none."""
        doing = f"deleting message {sequence} of {stream}"
        try:
            await self.ask(f"STREAM.MSG.DELETE.{stream}", {"seq": sequence}, Answer, doing=doing)
        except Refused as refused:
            if await self.message(stream, sequence) is not None:
                raise StoreUnavailable(doing, refused.description) from refused

    async def stream_info(self, stream: str) -> StreamInfo | None:
        """Return what there is to know about *stream*, or None if it does not exist."""
        doing = f"asking about {stream}"
        try:
            return await self.ask(f"STREAM.INFO.{stream}", None, StreamInfo, doing=doing)
        except Refused as refused:
            if refused.err_code == STREAM_NOT_FOUND:
                return None
            raise StoreUnavailable(doing, refused.description) from refused


def _in_batch(message: Outgoing, batch: str, number: int) -> dict[str, str]:
    return message.headers | {"Nats-Batch-Id": batch, "Nats-Batch-Sequence": str(number)}


def _decode(data: bytes, kind: type[Kind], doing: str) -> Kind:
    try:
        answer = msgspec.json.decode(data, type=kind)
    except msgspec.DecodeError as error:
        raise StoreUnavailable(doing, f"an answer that is none: {error}") from error
    if answer.error is not None:
        raise Refused(doing, answer.error.code, answer.error.err_code, answer.error.description)
    return answer
