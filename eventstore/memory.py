"""The event store and the buses inside one process: real implementations that forget everything at exit."""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from functools import partial

import msgspec
from google.protobuf.message import Message

from eventstore.admission import Freshness, asks_for, refusal
from eventstore.backward import BackwardChains
from eventstore.commit import MAX_COMMIT_BYTES, Chains, CommitCodec, commit_id
from eventstore.errors import CommitTooLarge, LogReplaced, StoreUnavailable, StreamMovedOn
from eventstore.heads import Head
from eventstore.letters import Letter, LetterDelivery, Letters
from eventstore.signing import Keys
from eventstore.store import (
    DELIVERIES_AT_MOST,
    Appended,
    CommandRecord,
    Context,
    EventTypes,
    LogIdentity,
    Mark,
    Recorded,
    Stored,
    StreamName,
)
from eventstore.subjects import of_stream


class _Kept(msgspec.Struct, frozen=True):
    stream: StreamName
    data: bytes


EVENT_ACK_WAIT_S = 60.0


class MemoryStore:
    """An `EventStore` that keeps sealed commits in a list and verifies them whenever they are read.

    Belongs to one event loop. Nothing survives the process.
    """

    def __init__(
        self, types: EventTypes, keys: Keys | None = None, *, max_commit_bytes: int = MAX_COMMIT_BYTES
    ) -> None:
        self._codec = CommitCodec(keys or Keys.generate(), types)
        self._max_commit_bytes = max_commit_bytes
        self._log: list[_Kept] = []
        self._heads: dict[StreamName, Head] = {}
        self._grown = asyncio.Event()
        self._created_ns = time.time_ns()

    async def append(
        self, stream: StreamName, events: Sequence[Message], *, expected: int, context: Context
    ) -> Appended:
        """Write *events* as one commit after version *expected*; see `EventStore.append`."""
        of_stream(stream)
        head = self._heads.get(stream) or Head()
        this = commit_id(stream, context.command_id)
        before = head.position_of(this)
        if before is not None:
            return Appended(self._open(before, None), duplicate=True)
        if head.version != expected:
            raise StreamMovedOn(str(stream), expected, head.version)
        data = self._codec.seal(stream, events, context, head.end.link)
        if len(data) > self._max_commit_bytes:
            raise CommitTooLarge(len(data), self._max_commit_bytes)
        position = len(self._log) + 1
        recorded = self._codec.unseal(data, position, stream, head.end.link)
        self._log.append(_Kept(stream, data))
        head.extend(data, recorded)
        self._heads[stream] = head
        self._grown.set()
        self._grown = asyncio.Event()
        return Appended(recorded, duplicate=False)

    async def read_stream(self, stream: StreamName, *, after_version: int = 0) -> Sequence[Recorded]:
        """Return the stream's events whose version exceeds *after_version*."""
        head, chains = self._heads.get(stream), Chains(from_start=True)
        events = [event for position in (head.positions() if head else ()) for event in self._open(position, chains)]
        return [event for event in events if event.version > after_version]

    async def read_stream_backward(
        self, stream: StreamName, *, before_version: int | None = None, limit: int | None = None
    ) -> Sequence[Recorded]:
        """Return the stream's events below *before_version*, the newest first, at most *limit*."""
        events = await self.read_stream(stream)
        below = [event for event in events if before_version is None or event.version < before_version]
        return below[::-1][:limit]

    async def streams(self, aggregate: str) -> Sequence[StreamName]:
        """Return the streams of *aggregate*, in the order in which they began."""
        return tuple(stream for stream in self._heads if stream.aggregate == aggregate)

    async def read_all(self, *, after: int = 0, until: int | None = None) -> AsyncGenerator[Recorded, None]:
        """Yield every event whose position is in (after, until]."""
        async with aclosing(self.read_stored(after=after, until=until)) as commits:
            async for stored in commits:
                for event in stored.events:
                    yield event

    async def read_all_backward(self, *, before: int | None = None, after: int = 0) -> AsyncGenerator[Recorded, None]:
        """Yield every event whose position is in (after, before), the newest first."""
        self._refuse_beyond_head(after)
        chains, head = BackwardChains(), len(self._log)
        for position in range(head if before is None else min(before - 1, head), after, -1):
            kept = self._log[position - 1]
            events = self._codec.unseal(kept.data, position, kept.stream, None)
            chains.check(position, kept.data, events)
            for event in reversed(events):
                yield event
        if after == 0:
            chains.check_complete()

    async def read_stored(self, *, after: int = 0, until: int | None = None) -> AsyncGenerator[Stored, None]:
        """Yield every commit whose position is in (after, until], with its bytes."""
        self._refuse_beyond_head(after)
        chains = Chains(from_start=after == 0)
        head = len(self._log)
        for position in range(after + 1, head + 1 if until is None else min(until, head) + 1):
            events, kept = self._open(position, chains), self._log[position - 1]
            yield Stored(position, kept.stream, kept.data, events)

    async def wait_for(self, position: int, *, timeout_s: float) -> None:
        """Return once everything up to *position* can be read."""
        try:
            async with asyncio.timeout(timeout_s):
                while len(self._log) < position:
                    await self._grown.wait()
        except TimeoutError as error:
            raise StoreUnavailable(f"waiting for position {position}", f"not within {timeout_s:g} s") from error

    def mark(self, stream: StreamName, version: int) -> Mark | None:
        """Return how *stream* stood at *version*, or None if no commit ends there."""
        head = self._heads.get(stream)
        return head.mark(stream, version) if head else None

    async def recognise(self, mark: Mark) -> bool:
        """Say whether the log still holds what *mark* was taken from."""
        head = self._heads.get(mark.stream)
        return head is not None and head.holds(mark)

    async def follow(self, *, after: int = 0, aggregates: Sequence[str] = ()) -> AsyncGenerator[Recorded, None]:
        """Yield every event after position *after*, those recorded and then those to come."""
        async with aclosing(self.commits(after=after)) as commits:
            async for commit in commits:
                if aggregates and commit[0].stream.aggregate not in aggregates:
                    continue
                for event in commit:
                    yield event

    async def commits(self, *, after: int = 0) -> AsyncGenerator[tuple[Recorded, ...], None]:
        """Like `follow`, but yield the events of one commit together."""
        self._refuse_beyond_head(after)
        chains = Chains(from_start=after == 0)
        position = after
        while True:
            while position < len(self._log):
                position += 1
                yield self._open(position, chains)
            await self._grown.wait()

    async def identity(self) -> LogIdentity:
        """Return what tells this log from another, with its present head."""
        return LogIdentity(self._created_ns, 1, len(self._log))

    def _refuse_beyond_head(self, after: int) -> None:
        if after > len(self._log):
            raise LogReplaced(f"a log of at least {after} positions", f"{len(self._log)}")

    def _open(self, position: int, chains: Chains | None) -> tuple[Recorded, ...]:
        kept = self._log[position - 1]
        if chains is None:
            return self._codec.unseal(kept.data, position, kept.stream, None)
        return self._codec.read(kept.data, position, kept.stream, chains)


class MemoryBus:
    """A `CommandBus` and `QueryBus` inside one event loop; nothing survives the process."""

    def __init__(self, store: MemoryStore, *, now_ns: Callable[[], int] = time.time_ns) -> None:
        self._store = store
        self._now_ns = now_ns
        self._queues: defaultdict[str, Letters[CommandRecord]] = defaultdict(Letters)
        self._queued_at_ns: dict[str, int] = {}
        self._nonces = _MemoryNonces()
        self._settled: defaultdict[str, int] = defaultdict(int)
        self._servers: dict[str, asyncio.Queue[MemoryRequest]] = {}
        self.buried: list[tuple[CommandRecord | tuple[Recorded, ...], str]] = []

    async def send(self, record: CommandRecord) -> None:
        """Put *record* in its target's queue; sending the same command id again is harmless."""
        if record.command_id not in self._queued_at_ns:
            self._queued_at_ns[record.command_id] = self._now_ns()
            self._queues[record.target].offer(Letter(record))

    async def commands(
        self, target: str, *, ack_wait_s: float = 60.0, deliveries_at_most: int = DELIVERIES_AT_MOST
    ) -> AsyncGenerator["MemoryCommandDelivery", None]:
        """Yield the commands for *target*, one at a time, oldest first, without end."""
        letters = self._queues[target]
        while True:
            letter = await letters.take(ack_wait_s)
            delivery = MemoryCommandDelivery(letters, letter, ack_wait_s, self._bury)
            record, now_ns = letter.content, self._now_ns()
            queued_at_ns = self._queued_at_ns[record.command_id]
            refused = await refusal(record, queued_at_ns, now_ns, self._nonces, Freshness())
            if delivery.attempt > deliveries_at_most:
                await delivery.dead_letter(f"it was delivered {deliveries_at_most} times and never settled")
            elif refused is not None:
                await delivery.dead_letter(refused.detail)
            else:
                yield delivery

    async def events(self, name: str, aggregates: Sequence[str]) -> AsyncGenerator["MemoryEventDelivery", None]:
        """Yield every commit of *aggregates* to the durable reader *name*, from the log's beginning, without end."""
        letters: Letters[tuple[Recorded, ...]] = Letters()
        async with aclosing(self._store.commits(after=self._settled[name])) as commits:
            async for commit in commits:
                if commit[0].stream.aggregate not in aggregates:
                    continue
                letter = Letter(commit, partial(self._settled.__setitem__, name, commit[0].position))
                letters.offer(letter)
                while await letters.take_until_settled(letter, EVENT_ACK_WAIT_S):
                    yield MemoryEventDelivery(letters, letter, EVENT_ACK_WAIT_S, self._bury)

    async def ask(self, subject: str, request: bytes, *, timeout_s: float) -> bytes:
        """Return the answer of whoever serves *subject*."""
        if subject not in self._servers:
            raise StoreUnavailable(f"asking {subject}", "nobody serves it")
        question = MemoryRequest(request)
        self._servers[subject].put_nowait(question)
        try:
            async with asyncio.timeout(timeout_s):
                return await question.answered
        except TimeoutError as error:
            raise StoreUnavailable(f"asking {subject}", f"no answer within {timeout_s:g} s") from error

    async def requests(self, subject: str) -> AsyncGenerator["MemoryRequest", None]:
        """Yield requests to *subject*, without end."""
        waiting = self._servers[subject] = asyncio.Queue()
        try:
            while True:
                yield await waiting.get()
        finally:
            del self._servers[subject]

    def _bury(self, content: CommandRecord | tuple[Recorded, ...], error: str) -> None:
        self.buried.append((content, error))


class _MemoryNonces:
    """Command ids that were used, for as long as the process lives."""

    def __init__(self) -> None:
        self._asked: dict[str, str] = {}

    async def claim(self, record: CommandRecord) -> bool:
        asked = asks_for(record)
        return self._asked.setdefault(f"{record.target}.{record.command_id}", asked) == asked


class MemoryCommandDelivery(LetterDelivery[CommandRecord]):
    """A delivered command."""

    @property
    def record(self) -> CommandRecord:
        """The command."""
        return self._letter.content


class MemoryEventDelivery(LetterDelivery[tuple[Recorded, ...]]):
    """A delivered commit."""

    @property
    def events(self) -> Sequence[Recorded]:
        """The commit's events."""
        return self._letter.content


class MemoryRequest:
    """A question that waits for its answer."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.answered: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def answer(self, data: bytes) -> None:
        """Give *data* to the asker; harmless when that one has given up."""
        if not self.answered.done():
            self.answered.set_result(data)
