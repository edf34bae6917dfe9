"""Events in batches: large when there are many, soon when there are few."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

import msgspec

from eventstore.store import Recorded

READ_AHEAD_BATCHES = 2


class Batching(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a batch is complete: at *events* events, or *age_s* seconds after its first one arrived."""

    events: int = 2000
    age_s: float = 0.2


DEFAULT_BATCHING = Batching()
CATCHING_UP = Batching(events=10_000, age_s=1.0)


async def batched(events: AsyncIterator[Recorded], batching: Batching) -> AsyncGenerator[list[Recorded], None]:
    """Yield *events* in batches, in order. A batch that is cut while more events wait ends with a whole commit.

    While a batch is being dealt with, the next one is read: at most two batches wait. What was read before an error
    is yielded before the error is raised.
    """
    ahead = _Ahead(batching)
    reading = asyncio.create_task(ahead.read(events))
    try:
        while batch := await ahead.batch():
            yield batch
        await reading
    finally:
        reading.cancel()
        await asyncio.wait({reading})
        if isinstance(events, AsyncGenerator):
            await events.aclose()


class _Ahead:
    """Events that were read and not yet taken."""

    def __init__(self, batching: Batching) -> None:
        self._batching = batching
        self._waiting: list[Recorded] = []
        self._ended = False
        self._any, self._many, self._room = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def read(self, events: AsyncIterator[Recorded]) -> None:
        most = self._batching.events
        try:
            async for event in events:
                waiting = self._waiting
                waiting.append(event)
                if len(waiting) == 1:
                    self._any.set()
                elif len(waiting) > most:
                    self._many.set()
                    if len(waiting) >= most * READ_AHEAD_BATCHES:
                        self._room.clear()
                        await self._room.wait()
        finally:
            self._ended = True
            self._any.set()
            self._many.set()

    async def batch(self) -> list[Recorded]:
        """Return the next batch; an empty one when there will be no more."""
        await self._any.wait()
        try:
            async with asyncio.timeout(self._batching.age_s):
                await self._many.wait()
        except TimeoutError:
            pass
        return self._take()

    def _take(self) -> list[Recorded]:
        cut = self._cut()
        batch, self._waiting = self._waiting[:cut], self._waiting[cut:]
        if not self._ended:
            if not self._waiting:
                self._any.clear()
            if len(self._waiting) <= self._batching.events:
                self._many.clear()
        self._room.set()
        return batch

    def _cut(self) -> int:
        """Return how many of those that wait make the next batch: whole commits, if another one is known to follow."""
        waiting, cut = self._waiting, self._batching.events
        while cut < len(waiting) and waiting[cut].position == waiting[cut - 1].position:
            cut += 1
        return cut
