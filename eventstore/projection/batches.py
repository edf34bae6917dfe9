"""Events in batches: large when there are many, soon when there are few."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

import msgspec

from eventstore.store import Recorded


class Batching(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a batch is complete: at *events* events, or *age_s* seconds after its first one arrived."""

    events: int = 2000
    age_s: float = 0.2


DEFAULT_BATCHING = Batching()


async def batched(events: AsyncIterator[Recorded], batching: Batching) -> AsyncGenerator[list[Recorded], None]:
    """Yield *events* in batches, in order. A batch that is cut while more events wait ends with a whole commit."""
    loop = asyncio.get_running_loop()
    coming = asyncio.ensure_future(anext(events, None))
    batch: list[Recorded] = []
    due = 0.0
    try:
        while True:
            done, _ = await asyncio.wait({coming}, timeout=max(0.0, due - loop.time()) if batch else None)
            if not done:
                yield batch
                batch = []
                continue
            event = coming.result()
            if event is None:
                break
            complete = len(batch) >= batching.events or loop.time() >= due
            if batch and complete and event.position != batch[-1].position:
                yield batch
                batch = []
            coming = asyncio.ensure_future(anext(events, None))
            if not batch:
                due = loop.time() + batching.age_s
            batch.append(event)
        if batch:
            yield batch
    finally:
        coming.cancel()
        await asyncio.wait({coming})
        if isinstance(events, AsyncGenerator):
            await events.aclose()
