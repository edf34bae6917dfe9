"""Reading a log into a projection file, from its checkpoint on."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import TypeAlias

from eventstore.projection.batches import CATCHING_UP, DEFAULT_BATCHING, Batching, batched
from eventstore.projection.checkpoint import Checkpoint
from eventstore.projection.sink import Sink
from eventstore.store import EventStore, Recorded

Write: TypeAlias = Callable[[list[Recorded]], Awaitable[object]]


async def catch_up(store: EventStore, sink: Sink, batching: Batching = CATCHING_UP) -> Checkpoint:
    """Write everything up to the log's present head and return the checkpoint.

    Raises:
        LogReplaced: this is not the log that the file was made from; nothing was written.
        LogCorrupt, UnknownEventType: at the first event that fails; the rows before it are written.
    """
    await asyncio.to_thread(sink.bind, await store.identity())
    await _write_all(store.read_all(after=sink.checkpoint.resume_after), _to(sink), batching)
    return sink.checkpoint


async def keep_up(
    store: EventStore, sink: Sink, write: Write | None = None, batching: Batching = DEFAULT_BATCHING
) -> None:
    """Write everything recorded and then everything to come, until cancelled; raises as `catch_up`.

    *write* takes each batch in place of the sink, for a caller that has to do more than that.
    """
    await asyncio.to_thread(sink.bind, await store.identity())
    await _write_all(store.follow(after=sink.checkpoint.resume_after), write or _to(sink), batching)


async def _write_all(events: AsyncIterator[Recorded], write: Write, batching: Batching) -> None:
    async with aclosing(batched(events, batching)) as batches:
        async for batch in batches:
            await write(batch)


def _to(sink: Sink) -> Write:
    async def write(batch: list[Recorded]) -> None:
        await asyncio.to_thread(sink.write, batch)

    return write
