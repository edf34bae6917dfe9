"""Fast-ingest batches (ADR-50): many messages into one stream with few acknowledgements, in order, not atomic.

The server adapts how often it acknowledges; what an acknowledgement names is stored, together with all before it.
"""

import asyncio
from collections.abc import Iterator
from itertools import count
from uuid import uuid4

import msgspec
from nats.aio.msg import Msg

from eventstore.errors import StoreUnavailable
from eventstore.oona.connection import Connection

FLOW = 1000
OUTSTANDING = 2
SENT_AT_ONCE = 250
_START, _ADD, _COMMIT = 0, 1, 2
_NOBODY_LISTENS = "503"
_DOING = "ingesting a batch"


class _Answer(msgspec.Struct, frozen=True):
    """A flow acknowledgement (type ack: stored up to `seq`, the next in `msgs`), a fault, or the end with a count."""

    type: str = ""
    seq: int = 0
    msgs: int = 1
    count: int = 0
    error: dict[str, object] | None = None


class Batch:
    """One batch on its way: how many of its messages were sent, how many are known to be stored, and what went wrong.

    When it has ended, sent messages beyond `stored` may be stored or not; those beyond `sent` are not.
    """

    def __init__(self, size: int) -> None:
        self.size, self.sent, self.stored, self.fault = size, 0, 0, ""
        self.window = 0
        self.ended = False
        self.moved = asyncio.Event()

    def heed(self, message: Msg) -> None:
        """Take in what the server says about it."""
        if not message.data:
            self._fail(f"no stream takes it: {(message.headers or {}).get('Status', 'an empty answer')}")
            if (message.headers or {}).get("Status") == _NOBODY_LISTENS and not self.window:
                self.sent = 0
            return
        answer = msgspec.json.decode(message.data, type=_Answer)
        if answer.type == "ack":
            self.stored = max(self.stored, answer.seq)
            self.window = answer.msgs * OUTSTANDING
        elif answer.error is not None:
            self._fail(str(answer.error.get("description", answer.error)))
        elif answer.type:
            self._fail(f"the server reports {answer.type} at message {answer.seq}")
        else:
            self.stored, self.ended = max(self.stored, answer.count), True
        self.moved.set()

    def room(self) -> int:
        """Return up to which message may be sent now; the first alone opens the batch."""
        return min(self.size, self.stored + self.window) if self.window else 1

    def _fail(self, why: str) -> None:
        self.fault, self.ended = self.fault or why, True
        self.moved.set()


class FastIngest:
    """Sends batches over one connection, one at a time, through one inbox."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._prefix = ""
        self._numbers = count()
        self._batch: Batch | None = None
        self._name = ""

    async def store(self, messages: Iterator[tuple[str, bytes]], batch: Batch, *, wait_s: float) -> None:
        """Store *messages*, keeping *batch*, which is of their number, up to date; return when it has ended.

        It ends when all is stored, at a fault, when the connection is lost, or *wait_s* after the last progress.
        """
        # A connection that was lost and is back meanwhile has lost what was on its way all the same.
        lost = self._connection.lost
        try:
            await self._open()
            self._batch, self._name = batch, str(next(self._numbers))
            while not batch.ended:
                await self._send(messages, batch)
                await self._wait(batch, lost, wait_s)
        except StoreUnavailable as unavailable:
            batch.fault, batch.ended = unavailable.cause, True
        finally:
            self._batch = None

    async def _send(self, messages: Iterator[tuple[str, bytes]], batch: Batch) -> None:
        while batch.sent < batch.room():
            await self._connection.publish_each(self._window(messages, batch), doing=_DOING)
            # What was sent goes to the server while the next ones are made.
            await asyncio.sleep(0)

    def _window(self, messages: Iterator[tuple[str, bytes]], batch: Batch) -> Iterator[tuple[str, bytes, str]]:
        """Yield what may be sent now, each with the reply that says what it is to the batch; count it once sent."""
        prefix, last = f"{self._prefix}.{self._name}.{FLOW}.fail.", batch.size
        first, until = batch.sent + 1, min(batch.room(), batch.sent + SENT_AT_ONCE)
        for number, (subject, data) in zip(range(first, until + 1), messages):  # noqa: B905 - the range ends first
            operation = _COMMIT if number == last else _ADD if number > 1 else _START
            yield subject, data, f"{prefix}{number}.{operation}.$FI"
            batch.sent = number

    async def _wait(self, batch: Batch, lost: "asyncio.Future[None]", wait_s: float) -> None:
        moved = asyncio.ensure_future(batch.moved.wait())
        try:
            await asyncio.wait({moved, lost}, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            moved.cancel()
        if batch.moved.is_set():
            batch.moved.clear()
        elif lost.done():
            raise StoreUnavailable(_DOING, "the connection was lost")
        else:
            raise StoreUnavailable(_DOING, f"no answer within {wait_s:g} s")

    async def _open(self) -> None:
        if not self._prefix:
            prefix = f"{self._connection.new_inbox()}.{uuid4().hex}"
            await self._connection.subscribe(f"{prefix}.>", self._on_answer)
            self._prefix = prefix

    async def _on_answer(self, message: Msg) -> None:
        # An answer to a batch that was given up is nobody's any more.
        if self._batch is not None and message.subject.startswith(f"{self._prefix}.{self._name}."):
            self._batch.heed(message)
