"""What an event store promises."""

from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

import msgspec
from google.protobuf.message import Message

from eventstore.upcasting import Upcaster


class StreamName(NamedTuple):
    """One aggregate's own stream; both parts are non-empty and hold only letters, digits, '-' and '_'."""

    aggregate: str
    aggregate_id: str

    def __str__(self) -> str:
        return f"{self.aggregate}.{self.aggregate_id}"


class EventTypes(Protocol):
    """The vocabulary a store is handed: full protobuf name -> (message class, current schema version)."""

    def lookup(self, name: str) -> tuple[type[Message], int] | None:
        """Return the class and newest schema version of event type *name*, or None if it is not known."""
        ...

    def version(self, event: Message, /) -> int:
        """Return the schema version under which *event* is written."""
        ...

    def upcaster(self, name: str, schema_version: int) -> Upcaster | None:
        """Return the step that leads on from an old version of type *name*, or None if none does."""
        ...


class Context(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Who decided, upon what, and when: everything about a commit but its events.

    `command_id` is a 32-digit hex UUID; the commit's and events' ids derive from it, so that the same command never
    appends twice. `recorded_at_ns` is wall time, handed in.
    """

    command_id: str
    command_type: str
    recorded_at_ns: int
    actor: str
    actor_epoch: int = 0
    causation_id: str = ""
    correlation_id: str = ""
    run_id: str = ""
    traceparent: str = ""


class Recorded(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One event as the log holds it.

    `position` is the place of its commit in the whole log (1..n, shared by the events of one commit); `index` counts
    within the commit from 0; `version` is the event's place in its own stream (1..n, no holes).
    """

    position: int
    index: int
    stream: StreamName
    version: int
    event_id: str
    event_type: str
    event: Message
    commit_id: str
    context: Context


class Stored(NamedTuple):
    """One commit as the log holds it: its place, the exact bytes, and the events that were verified from them."""

    position: int
    stream: StreamName
    data: bytes
    events: tuple[Recorded, ...]


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """How a stream stood at *version*: enough to recognise that very history again, and to go on from there.

    `sha256` is that of the stored message whose last event is *version*, and through the chain fixes all before it;
    `commits` maps each commit up to there to its position and the version of its first event.
    """

    stream: StreamName
    version: int
    position: int
    sha256: bytes
    commits: dict[str, tuple[int, int]]


class Appended(msgspec.Struct, frozen=True):
    """The outcome of an append: the commit's events with their positions; `duplicate` if they were there before."""

    events: tuple[Recorded, ...]
    duplicate: bool

    @property
    def position(self) -> int:
        """The commit's place in the log."""
        return self.events[-1].position


class LogIdentity(msgspec.Struct, frozen=True):
    """What tells one log from another: when it was created (ns since 1970) and the positions it spans."""

    created_ns: int
    first_position: int
    last_position: int


class EventStore(Protocol):
    """An append-only record of what happened, in streams.

    Nothing is promised about *when* followers see an event. Promised: one stream's events come back in the order
    written, each exactly once; across streams `position` orders everything; an append is all or nothing; whatever
    is returned was verified (hash, chain, signature, contiguity, known type).
    """

    async def append(
        self, stream: StreamName, events: Sequence[Message], *, expected: int, context: Context
    ) -> Appended:
        """Write *events* as one commit after version *expected* (0 = the stream must be new).

        The commit's id is `commit_id(stream, context.command_id)`. If the stream already holds it, nothing is
        written and the recorded events come back with `duplicate=True`, whatever *expected* says.

        Raises:
            StreamMovedOn: someone else wrote first; carries the real version. Reload and decide again.
            StoreUnavailable: not known whether the write happened; a retry with the same command id is safe.
            LogFull, CommitTooLarge: nothing was written.
        """
        ...

    async def read_stream(self, stream: StreamName, *, after_version: int = 0) -> Sequence[Recorded]:
        """Return the stream's events whose version exceeds *after_version*; empty if there are none.

        Raises:
            LogCorrupt, UnknownEventType: at the first event that fails; nothing after it is returned.
            StoreUnavailable: the log did not answer.
        """
        ...

    async def read_stream_backward(
        self, stream: StreamName, *, before_version: int | None = None, limit: int | None = None
    ) -> Sequence[Recorded]:
        """Return the stream's events below *before_version* (default: all), the newest first, at most *limit*.

        Raises: as `read_stream`.
        """
        ...

    async def streams(self, aggregate: str) -> Sequence[StreamName]:
        """Return the streams of *aggregate*, in the order in which they began; the log is not read for it.

        Nothing is verified: a name may be missing or wrong if the log was tampered with, what `read_stream` returns
        for it is not.

        Raises:
            StoreUnavailable: the log did not answer.
        """
        ...

    def read_all(self, *, after: int = 0, until: int | None = None) -> AsyncGenerator[Recorded, None]:
        """Yield every event whose position is in (after, until], in order; *until* defaults to the present head.

        Raises: as `read_stream`, at the first event that fails.
            LogReplaced: the log ends before *after*: it is not the log that this position came from.
        """
        ...

    def read_all_backward(self, *, before: int | None = None, after: int = 0) -> AsyncGenerator[Recorded, None]:
        """Yield every event whose position is in (after, before), the newest first; *before* defaults to the end.

        Each commit is verified against the later ones of its stream that were met; of a stream's newest one, signature
        and form are verified and the link to what follows is not known. The order within a commit is reversed too.

        Raises: as `read_all`.
        """
        ...

    def read_stored(self, *, after: int = 0, until: int | None = None) -> AsyncGenerator[Stored, None]:
        """Like `read_all`, by whole commits and with the bytes that were verified: for copies and audits."""
        ...

    async def wait_for(self, position: int, *, timeout_s: float) -> None:
        """Return once everything up to *position* can be read here: how to read one's own write elsewhere.

        Raises:
            StoreUnavailable: it could not within *timeout_s* seconds.
        """
        ...

    def mark(self, stream: StreamName, version: int) -> Mark | None:
        """Return how *stream* stood at *version*, or None if this store has not seen it end a commit there."""
        ...

    async def recognise(self, mark: Mark) -> bool:
        """Say whether the log still holds what *mark* was taken from; if so, the stream may be read on from there.

        Checked: the message at the mark's position is genuine, is that stream's, and has the mark's SHA-256; what lies
        before it is taken on the word of the chain.

        Raises:
            StoreUnavailable: the log did not answer.
            LogCorrupt, UnknownEventType: what is stored there fails verification.
        """
        ...

    def follow(self, *, after: int = 0, aggregates: Sequence[str] = ()) -> AsyncGenerator[Recorded, None]:
        """Yield every event after position *after*, those recorded and then those to come, without end.

        There is no gap and no double where the past meets the present. A follower outlives lost connections. Close
        the iterator to stop. With *aggregates*, nothing but their events is read and verified.

        Raises: as `read_all`, also when another log is found after a lost connection.
        """
        ...

    async def identity(self) -> LogIdentity:
        """Return what tells this log from another, with its present head."""
        ...


DELIVERIES_AT_MOST = 5


class BlobStore(Protocol):
    """Big bytes by the SHA-256 of their content; immutable, so that writing twice is harmless."""

    def put(self, data: bytes) -> str:
        """Store *data* durably and return its digest (64 hex digits). Safe to call from any thread."""
        ...

    def put_chunks(self, chunks: Iterable[bytes]) -> str:
        """As `put`, of what *chunks* make together, without ever holding all of it."""
        ...

    def get(self, digest: str) -> bytes:
        """Return the bytes whose SHA-256 is *digest*, verified.

        Raises:
            BlobMissing: there is none.
            BlobCorrupt: the stored bytes have another digest; they are kept for inspection.
        """
        ...

    def chunks(self, digest: str) -> Iterator[bytes]:
        """Yield the bytes whose SHA-256 is *digest* bit by bit. They are verified at the end: use nothing before it.

        Raises: as `get`, `BlobCorrupt` after the last chunk.
        """
        ...

    def digests(self) -> Sequence[str]:
        """Return the digest of every blob there is, in order."""
        ...


class CommandRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A command as it travels to an actor; the same command redelivered has the same id and bytes."""

    command_id: str
    target: str
    command: Message
    stream: StreamName
    issued_at_ns: int
    deadline_ns: int = 0
    issued_by: str
    causation_id: str = ""
    correlation_id: str = ""
    run_id: str = ""
    traceparent: str = ""


class Delivery(Protocol):
    """One delivered command or event; one of `ack`, `retry_later` and `dead_letter` ends it.

    A verb that raises `StoreUnavailable` leaves it to be delivered again.
    """

    @property
    def attempt(self) -> int:
        """1 for the first delivery."""
        ...

    async def ack(self) -> None:
        """It is done: never deliver it again."""
        ...

    async def retry_later(self, delay_s: float) -> None:
        """Deliver it again after *delay_s* seconds."""
        ...

    async def in_progress(self) -> None:
        """Still at work: start the redelivery clock anew."""
        ...

    async def dead_letter(self, error: str) -> None:
        """Keep the original bytes, headers and *error* among the dead letters, then never deliver it again."""
        ...


class CommandDelivery(Delivery, Protocol):
    """A delivered command."""

    @property
    def record(self) -> CommandRecord: ...


class EventDelivery(Delivery, Protocol):
    """A delivered commit, for reactors that must see each event at least once across restarts."""

    @property
    def events(self) -> Sequence[Recorded]: ...


class CommandBus(Protocol):
    """At-least-once delivery of commands to actors, and of events to reactors."""

    async def send(self, record: CommandRecord) -> None:
        """Put *record* in its target's queue, durably; sending the same command id again is harmless.

        Raises:
            StoreUnavailable: not known whether it was queued; send it again.
        """
        ...

    def commands(
        self, target: str, *, ack_wait_s: float = 60.0, deliveries_at_most: int = DELIVERIES_AT_MOST
    ) -> AsyncGenerator[CommandDelivery, None]:
        """Yield the commands for *target*, one at a time, oldest first, without end.

        One that is refused (see `eventstore.admission`) is not yielded; one that was yielded *deliveries_at_most* times
        and never settled is not yielded again. Both end among the dead letters, once.
        """
        ...

    def events(self, name: str, aggregates: Sequence[str]) -> AsyncGenerator[EventDelivery, None]:
        """Yield every commit of *aggregates* to the durable reader *name*, from the log's beginning, without end."""
        ...


class AlarmBus(Protocol):
    """A lane of its own for emergencies: never shed, never refused for how much waits."""

    async def alarm(self, record: CommandRecord) -> None:
        """Put the emergency *record* in its target's emergency queue, past everything that waits.

        Raises:
            StoreUnavailable: not known whether it was queued; send it again.
        """
        ...

    def alarms(self, target: str, *, ack_wait_s: float = 60.0) -> AsyncGenerator[CommandDelivery, None]:
        """Yield the emergencies for *target*, oldest first, without end and as often as it takes."""
        ...


class QueryBus(Protocol):
    """Request and reply, at most once, for reading: nothing durable hangs on it."""

    async def ask(self, subject: str, request: bytes, *, timeout_s: float) -> bytes:
        """Return the answer of whoever serves *subject*.

        Raises:
            StoreUnavailable: nobody serves it, or no answer came in time.
        """
        ...

    def requests(self, subject: str) -> AsyncGenerator["Request", None]:
        """Yield requests to *subject*, without end."""
        ...


class Request(Protocol):
    """A question that waits for its answer."""

    @property
    def data(self) -> bytes: ...

    async def answer(self, data: bytes) -> None: ...
