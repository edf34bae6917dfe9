"""The few requests of JetStream's API that Oona makes, with typed answers."""

from datetime import datetime
from typing import Any, TypeVar

import msgspec
import stamina

from eventstore.errors import EventStoreError, StoreUnavailable
from eventstore.oona.connection import REQUEST_WAIT_S, Connection
from eventstore.oona.publishing import Publisher

NOT_FOUND = 404
NO_MESSAGE_FOUND = 10037
CONSUMER_EXISTS = 10148
STREAM_NOT_FOUND = 10059
WRONG_LAST_SEQUENCE = 10071
LOG_FULL = frozenset({10023, 10047, 10077})

PUBLISH_PATIENCE_S = 5.0
HEADER_ROOM_BYTES = 4096


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


class StoredMessage(msgspec.Struct, frozen=True):
    """A message as the leader of its stream holds it."""

    subject: str
    seq: int
    time: datetime
    data: bytes = b""
    hdrs: bytes = b""


class _MessageAnswer(Answer, frozen=True):
    message: StoredMessage | None = None


class StreamState(msgspec.Struct, frozen=True):
    """The sequences that a stream spans."""

    first_seq: int
    last_seq: int


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

    async def ask(self, verb: str, body: object, kind: type[Kind], *, doing: str) -> Kind:
        """Send one API request.

        Raises:
            Refused: the server answered with an error.
            StoreUnavailable: it did not answer.
        """
        payload = b"" if body is None else msgspec.json.encode(body)
        message = await self.connection.request(f"$JS.API.{verb}", payload, doing=doing)
        return _decode(message.data, kind, doing)

    async def publish(self, subject: str, data: bytes, headers: dict[str, str], *, doing: str) -> Published:
        """Store one message, resending it unchanged while the stream has no leader or is slow.

        Raises:
            Refused: the server answered with an error; nothing was stored.
            StoreUnavailable: not known whether it was stored.
        """
        try:
            return await self._publish(subject, data, headers, doing)
        except StoreUnavailable:
            if not self.connection.connected:
                raise
        retries = stamina.retry_context(
            on=self._worth_resending, attempts=None, timeout=self._patience_s, wait_initial=0.05, wait_max=1.0
        )
        async for attempt in retries:
            with attempt:
                return await self._publish(subject, data, headers, doing)
        raise AssertionError("a retry context ends by returning or raising")

    async def _publish(self, subject: str, data: bytes, headers: dict[str, str], doing: str) -> Published:
        answer = await self._publisher.publish(subject, data, headers, doing=doing, wait_s=REQUEST_WAIT_S)
        return _decode(answer.data, Published, doing)

    def _worth_resending(self, error: Exception) -> bool:
        return isinstance(error, StoreUnavailable) and self.connection.connected

    async def last_message(self, stream: str, subject: str) -> StoredMessage | None:
        """Return the newest message on *subject* from the stream's leader (a direct get may be stale)."""
        return await self._message(stream, {"last_by_subj": subject})

    async def first_message(self, stream: str, subject: str) -> StoredMessage | None:
        """Return the oldest message on *subject* from the stream's leader."""
        return await self._message(stream, {"seq": 1, "next_by_subj": subject})

    async def message(self, stream: str, sequence: int) -> StoredMessage | None:
        """Return the message stored at *sequence*, from the stream's leader."""
        return await self._message(stream, {"seq": sequence})

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


def _decode(data: bytes, kind: type[Kind], doing: str) -> Kind:
    try:
        answer = msgspec.json.decode(data, type=kind)
    except msgspec.DecodeError as error:
        raise StoreUnavailable(doing, f"an answer that is none: {error}") from error
    if answer.error is not None:
        raise Refused(doing, answer.error.code, answer.error.err_code, answer.error.description)
    return answer
