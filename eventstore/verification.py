"""The whole log checked, up to its first fault, with what was counted on the way."""

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import msgspec

from eventstore.commit import key_id_of
from eventstore.errors import LogCorrupt, LogReplaced, UnknownEventType
from eventstore.store import EventStore, Stored, StreamName

PROGRESS_EVERY = 1000

Progress = Callable[[int, int], None]
"""Called now and then with (commits checked, commits to check)."""


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """The first thing that is wrong: where, which check failed, what it expected and what it found."""

    position: int
    kind: str
    expected: str
    found: str


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """What was checked and found right, up to `last_position`; what follows that is `fault`, if any."""

    first_position: int
    last_position: int
    commits: int = 0
    events: int = 0
    streams: int = 0
    bytes: int = 0
    key_ids: tuple[str, ...] = ()
    seconds: float = 0.0
    fault: Fault | None = None

    @property
    def commits_per_second(self) -> float:
        """How fast it was."""
        return self.commits / self.seconds if self.seconds else 0.0


class Tally:
    """Counts commits as they pass."""

    def __init__(self, first_position: int) -> None:
        self._first = first_position
        self._last = first_position - 1
        self._commits = self._events = self._bytes = 0
        self._streams: set[StreamName] = set()
        self._key_ids: set[str] = set()
        self._begun = time.perf_counter()

    @property
    def commits(self) -> int:
        """How many passed so far."""
        return self._commits

    def add(self, stored: Stored) -> None:
        """Count one that was found right."""
        self._last = stored.position
        self._commits += 1
        self._events += len(stored.events)
        self._bytes += len(stored.data)
        self._streams.add(stored.stream)
        self._key_ids.add(key_id_of(stored.data))

    def checked(self, fault: Fault | None = None) -> Checked:
        """Return the counts so far."""
        return Checked(
            first_position=self._first,
            last_position=self._last,
            commits=self._commits,
            events=self._events,
            streams=len(self._streams),
            bytes=self._bytes,
            key_ids=tuple(sorted(self._key_ids)),
            seconds=time.perf_counter() - self._begun,
            fault=fault,
        )


async def verify_log(
    store: EventStore, *, after: int = 0, until: int | None = None, progress: Progress = lambda done, of: None
) -> Checked:
    """Check every commit in (after, until]: contiguity, versions, hash chain, signature, ids, known types.

    From the log's beginning, every link is checked; from later on, each stream's first link met is taken as given.

    Raises:
        StoreUnavailable: the log did not answer; nothing is known.
    """
    identity = await store.identity()
    last = identity.last_position if until is None else min(until, identity.last_position)
    tally = Tally(after + 1)
    if identity.first_position > 1:
        found = f"nothing before position {identity.first_position}"
        return tally.checked(Fault(position=1, kind="position", expected="the log's first commit", found=found))
    try:
        await count(store.read_stored(after=after, until=last), tally, last - after, progress)
    except (LogCorrupt, LogReplaced, UnknownEventType) as error:
        return tally.checked(fault_of(error, after + tally.commits + 1))
    return tally.checked()


async def count(commits: AsyncGenerator[Stored, None], tally: Tally, of: int, progress: Progress) -> None:
    """Let every one of *commits* pass through *tally*, telling *progress*, first of all that none has."""
    progress(0, of)
    async with aclosing(commits):
        async for stored in commits:
            tally.add(stored)
            if tally.commits % PROGRESS_EVERY == 0 or tally.commits == of:
                progress(tally.commits, of)


def fault_of(error: LogCorrupt | LogReplaced | UnknownEventType, position: int) -> Fault:
    """Return *error*, met at *position* unless it knows better, as a fault."""
    match error:
        case LogCorrupt():
            return Fault(position=error.position, kind=error.kind, expected=error.expected, found=error.found)
        case UnknownEventType():
            found = f"{error.event_type} v{error.schema_version}"
            return Fault(position=error.position, kind="type", expected="one that this program knows", found=found)
        case LogReplaced():
            return Fault(position=position, kind="log", expected=error.expected, found=error.found)
