"""Which streams a log holds, from the server's own index: not one commit is read but the first of each."""

import asyncio

import msgspec

from eventstore.errors import StoreUnavailable
from eventstore.oona.jetstream import Answer, JetStream, Refused
from eventstore.store import StreamName
from eventstore.subjects import of_aggregate, stream_of

ASKED_AT_ONCE = 64


class _Page(msgspec.Struct, frozen=True):
    subjects: dict[str, int] = {}


class _Listing(Answer, frozen=True):
    """One page of a stream's subjects; `total` counts those of all pages."""

    total: int = 0
    state: _Page = _Page()


async def streams_of(jetstream: JetStream, log: str, aggregate: str) -> tuple[StreamName, ...]:
    """Return the streams of *aggregate* in *log*, in the order in which they began.

    Raises:
        StoreUnavailable: the server did not answer.
    """
    free = asyncio.Semaphore(ASKED_AT_ONCE)

    async def beginning(subject: str) -> int:
        async with free:
            first = await jetstream.first_message(log, subject)
        return 0 if first is None else first.seq

    subjects = await _subjects(jetstream, log, of_aggregate(aggregate))
    begun = zip(await asyncio.gather(*map(beginning, subjects)), subjects, strict=True)
    names = (stream_of(subject) for position, subject in sorted(begun) if position)
    return tuple(name for name in names if name is not None)


async def _subjects(jetstream: JetStream, log: str, wanted: str) -> list[str]:
    doing, found = f"listing {wanted}", list[str]()
    while True:
        body = {"subjects_filter": wanted, "offset": len(found)}
        try:
            page = await jetstream.ask(f"STREAM.INFO.{log}", body, _Listing, doing=doing)
        except Refused as refused:
            raise StoreUnavailable(doing, refused.description) from refused
        found.extend(page.state.subjects)
        if not page.state.subjects or len(found) >= page.total:
            return found
