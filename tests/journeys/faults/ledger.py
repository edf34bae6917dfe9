"""What writers were promised, to be compared with what the log holds: the judge of every fault."""

import asyncio
from collections import Counter
from uuid import uuid4

import msgspec
import stamina

from eventstore.errors import StoreUnavailable
from eventstore.store import Appended, EventStore, Recorded, StreamName
from tests.eventstore.vocabulary import context, said

PATIENCE_S = 60.0


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """How the log compares with the ledger. `unacknowledged` commits are legal: the writer was told "unknown"."""

    acknowledged: int
    stored: int
    lost: int
    doubled: int
    altered: int
    unacknowledged: int

    @property
    def sound(self) -> bool:
        """Whether every promise was kept."""
        return self.lost == self.doubled == self.altered == 0


class Ledger:
    """Every acknowledged event by its id."""

    def __init__(self) -> None:
        self.acknowledged: dict[str, Recorded] = {}
        self.retries = 0
        self._more = asyncio.Condition()

    async def note(self, appended: Appended) -> None:
        """Write down what was acknowledged."""
        async with self._more:
            self.acknowledged |= {event.event_id: event for event in appended.events}
            self._more.notify_all()

    async def until(self, many: int) -> None:
        """Wait until *many* events have been acknowledged."""
        async with self._more:
            await self._more.wait_for(lambda: len(self.acknowledged) >= many)

    async def append(
        self, store: EventStore, stream: StreamName, word: str, expected: int, command: str = ""
    ) -> Appended:
        """Append *word* under one command id until it is acknowledged, as an actor would, whatever happens."""
        given = context(command or uuid4().hex)
        retries = stamina.retry_context(
            on=StoreUnavailable, attempts=None, timeout=PATIENCE_S, wait_initial=0.02, wait_max=0.3
        )
        async for attempt in retries:
            with attempt:
                self.retries += attempt.num > 1
                appended = await store.append(stream, said(word), expected=expected, context=given)
                await self.note(appended)
                return appended
        raise AssertionError("a retry context ends by returning or raising")

    async def write(self, store: EventStore, stream: StreamName, stop: asyncio.Event) -> None:
        """Append to *stream*, of which this is the only writer, until *stop* is set."""
        version = len(await store.read_stream(stream))
        while not stop.is_set():
            version = (await self.append(store, stream, f"word {version}", version)).events[-1].version

    async def compare(self, store: EventStore) -> Verdict:
        """Read the whole log, verified, and compare."""
        stored = [event async for event in store.read_all()]
        by_id = {event.event_id: event for event in stored}
        mine = self.acknowledged
        return Verdict(
            acknowledged=len(mine),
            stored=len(stored),
            lost=len(mine.keys() - by_id.keys()),
            doubled=sum(count - 1 for count in Counter(event.event_id for event in stored).values()),
            altered=sum(by_id[key] != event for key, event in mine.items() if key in by_id),
            unacknowledged=len(by_id.keys() - mine.keys()),
        )


def tell(what: str, verdict: object) -> None:
    """Print the counts of one fault, where `pytest -s` and a failure show them."""
    print(f"\n{what}: {verdict}")  # noqa: T201 the counts are what these tests are for
