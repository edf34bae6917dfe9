"""The event store on JetStream: one decision is one message, and only an acknowledged one counts."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

from google.protobuf.message import Message

from eventstore.backward import BackwardChains
from eventstore.commit import MAX_COMMIT_BYTES, Chains, CommitCodec, Link, commit_id, link_after
from eventstore.errors import CommitTooLarge, LogCorrupt, LogFull, LogReplaced, StoreUnavailable, StreamMovedOn
from eventstore.heads import End, Head
from eventstore.oona.grouping import Grouping
from eventstore.oona.jetstream import (
    HEADER_ROOM_BYTES,
    LOG_FULL,
    WRITE_UNDER_WAY,
    WRONG_LAST_SEQUENCE,
    JetStream,
    Refused,
    StreamInfo,
)
from eventstore.oona.listing import streams_of
from eventstore.oona.pull import Raw
from eventstore.oona.reading import BATCH, LogReader
from eventstore.oona.streams import EVENTS
from eventstore.store import Appended, Context, LogIdentity, Mark, Recorded, Stored, StreamName
from eventstore.subjects import of_aggregate, of_stream, stream_of

BIRTH = "esper-created-ns"
"""Stream metadata: when a restored log was first created."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class OonaStore:
    """An `EventStore` on the stream of record.

    What a stream's end looked like when it was last seen is kept in memory and trusted only as an expectation: the
    server compares it, and when it is wrong the end is read again from the stream's leader.
    """

    def __init__(self, jetstream: JetStream, codec: CommitCodec, *, batches: bool = False) -> None:
        """Record over *jetstream*; *batches* says whether the stream of record takes them."""
        self._jetstream = jetstream
        self._grouping = Grouping(jetstream, allowed=batches)
        self._codec = codec
        self._reader = LogReader(jetstream, EVENTS)
        self._heads: dict[StreamName, Head] = {}

    async def append(
        self, stream: StreamName, events: Sequence[Message], *, expected: int, context: Context
    ) -> Appended:
        """Write *events* as one commit after version *expected*; see `EventStore.append`."""
        this = commit_id(stream, context.command_id)
        head = self._heads.get(stream) or await self._refresh(stream)
        if head.position_of(this) is None and head.version != expected:
            head = await self._refresh(stream)
        before = head.position_of(this)
        if before is not None:
            return await self._recorded_before(stream, before)
        if head.version != expected:
            raise StreamMovedOn(str(stream), expected, head.version)
        return await self._write(stream, events, context, head, this)

    async def read_stream(self, stream: StreamName, *, after_version: int = 0) -> Sequence[Recorded]:
        """Return the stream's events whose version exceeds *after_version*."""
        known = self._heads.get(stream)
        events = await self._read_from(stream, known.end_at(after_version) if known else End())
        return [event for event in events if event.version > after_version]

    async def read_stream_backward(
        self, stream: StreamName, *, before_version: int | None = None, limit: int | None = None
    ) -> Sequence[Recorded]:
        """Return the stream's events below *before_version*, the newest first, at most *limit*."""
        end = (await self._refresh(stream)).version + 1
        top = end if before_version is None else min(before_version, end)
        bottom = 0 if limit is None else max(0, top - 1 - limit)
        events = await self.read_stream(stream, after_version=bottom)
        return [event for event in reversed(events) if event.version < top]

    async def streams(self, aggregate: str) -> Sequence[StreamName]:
        """Return the streams of *aggregate*, in the order in which they began."""
        return await streams_of(self._jetstream, EVENTS, aggregate)

    async def read_all(self, *, after: int = 0, until: int | None = None) -> AsyncGenerator[Recorded, None]:
        """Yield every event whose position is in (after, until]."""
        async with aclosing(self._raw(after, until)) as batches:
            chains = Chains(from_start=after == 0)
            async for batch in batches:
                for raw in batch:
                    for event in self._unseal(raw, chains):
                        yield event

    async def read_all_backward(self, *, before: int | None = None, after: int = 0) -> AsyncGenerator[Recorded, None]:
        """Yield every event whose position is in (after, before), the newest first."""
        head = (await self._info()).state.last_seq
        _refuse_beyond(head, after)
        chains, top = BackwardChains(), head if before is None else min(before - 1, head)
        while top > after:
            bottom = max(after, top - BATCH)
            async with aclosing(self._reader.until(after=bottom, until=top)) as batches:
                raws = [raw async for batch in batches for raw in batch]
            for raw in reversed(raws):
                events = self._codec.unseal(raw.data, raw.position, _stream(raw), None)
                chains.check(raw.position, raw.data, events)
                for event in reversed(events):
                    yield event
            top = bottom
        if after == 0:
            chains.check_complete()

    async def read_stored(self, *, after: int = 0, until: int | None = None) -> AsyncGenerator[Stored, None]:
        """Yield every commit whose position is in (after, until], with its bytes."""
        async with aclosing(self._raw(after, until)) as batches:
            chains = Chains(from_start=after == 0)
            async for batch in batches:
                for raw in batch:
                    yield Stored(raw.position, _stream(raw), raw.data, self._unseal(raw, chains))

    async def _raw(self, after: int, until: int | None) -> AsyncGenerator[list[Raw], None]:
        """Yield the messages in (after, until], not yet verified; *until* defaults to the present head."""
        head = (await self._info()).state.last_seq
        _refuse_beyond(head, after)
        last = head if until is None else min(until, head)
        served = await self._last_served(after, last)
        async with aclosing(self._reader.until(after=after, until=served)) as batches:
            async for batch in batches:
                yield batch
        if served < last:
            raise LogCorrupt(served + 1, "position", str(served + 1), "nothing that the server can read")

    async def follow(self, *, after: int = 0, aggregates: Sequence[str] = ()) -> AsyncGenerator[Recorded, None]:
        """Yield every event after position *after*, those recorded and then those to come."""
        _refuse_beyond((await self._info()).state.last_seq, after)
        chains = Chains(from_start=after == 0)
        subjects = [of_aggregate(aggregate) for aggregate in aggregates]
        async with aclosing(self._reader.forever(after=after, subjects=subjects)) as batches:
            async for batch in batches:
                for raw in batch:
                    for event in self._unseal(raw, chains):
                        yield event

    async def wait_for(self, position: int, *, timeout_s: float) -> None:
        """Return once everything up to *position* can be read here."""
        try:
            async with asyncio.timeout(timeout_s):
                head = (await self._info()).state.last_seq
                async with aclosing(self._reader.forever(after=min(position - 1, head))) as batches:
                    while head < position:
                        head = (await anext(batches))[-1].position
        except TimeoutError as error:
            raise StoreUnavailable(f"waiting for position {position}", f"not within {timeout_s:g} s") from error

    def mark(self, stream: StreamName, version: int) -> Mark | None:
        """Return how *stream* stood at *version*, or None if this store has not seen it end a commit there."""
        head = self._heads.get(stream)
        return head.mark(stream, version) if head else None

    async def recognise(self, mark: Mark) -> bool:
        """Say whether the log still holds what *mark* was taken from; if so, the stream is read on from there."""
        head = self._heads.get(mark.stream)
        if head is not None and head.version >= mark.version and head.holds(mark):
            return True
        stored = await self._jetstream.message(EVENTS, mark.position)
        if stored is None or stream_of(stored.subject) != mark.stream:
            return False
        events = self._codec.unseal(stored.data, mark.position, mark.stream, None)
        if link_after(stored.data, events) != Link(mark.version, mark.sha256):
            return False
        if head is None:
            self._heads[mark.stream] = Head.at(mark)
        return True

    async def identity(self) -> LogIdentity:
        """Return what tells this log from another, with its present head."""
        return identity_of(await self._info())

    async def _write(
        self, stream: StreamName, events: Sequence[Message], context: Context, head: Head, this: str
    ) -> Appended:
        end = head.end
        draft = self._codec.draft(stream, events, context, end.link)
        data = draft.data
        limit = min(MAX_COMMIT_BYTES, self._jetstream.connection.max_payload - HEADER_ROOM_BYTES)
        if len(data) > limit:
            raise CommitTooLarge(len(data), limit)
        headers = {
            "Nats-Msg-Id": this,
            "Nats-Expected-Stream": EVENTS,
            "Nats-Expected-Last-Subject-Sequence": str(end.position),
            "Esper-Types": ",".join(sorted({event.DESCRIPTOR.full_name for event in events})),
        }
        try:
            published = await self._grouping.publish(of_stream(stream), data, headers, doing=f"appending to {stream}")
        except Refused as refused:
            return await self._after_refusal(stream, this, end.link.version, refused)
        except StoreUnavailable:
            return await self._after_silence(stream, this)
        if published.duplicate:
            return await self._recorded_before(stream, published.seq)
        recorded = self._codec.recorded(draft, published.seq)
        head.extend(data, recorded)
        return Appended(recorded, duplicate=False)

    async def _after_refusal(self, stream: StreamName, this: str, expected: int, refused: Refused) -> Appended:
        if refused.err_code in LOG_FULL:
            raise LogFull(str(stream), refused.description) from refused
        if refused.err_code not in (WRONG_LAST_SEQUENCE, WRITE_UNDER_WAY):
            raise StoreUnavailable(refused.doing, refused.description) from refused
        head = await self._refresh(stream)
        before = head.position_of(this)
        if before is not None:
            return await self._recorded_before(stream, before)
        if head.version == expected:
            raise StoreUnavailable(refused.doing, "another write to the stream is under way") from refused
        raise StreamMovedOn(str(stream), expected, head.version) from refused

    async def _after_silence(self, stream: StreamName, this: str) -> Appended:
        """No ack came: the commit may be there all the same. Only its presence is proof; its absence is none."""
        before = (await self._refresh(stream)).position_of(this)
        if before is None:
            raise StoreUnavailable(f"appending to {stream}", "no acknowledgement came")
        return await self._recorded_before(stream, before)

    async def _last_served(self, after: int, last: int) -> int:
        """Return the last position up to *last* that can be read: a reader would wait for ever for a damaged one."""
        while last > after and await self._jetstream.message(EVENTS, last) is None:
            last -= 1
        return last

    async def _recorded_before(self, stream: StreamName, position: int) -> Appended:
        stored = await self._jetstream.message(EVENTS, position)
        if stored is None:
            raise LogCorrupt(position, "position", f"a commit of {stream}", "nothing")
        return Appended(self._codec.unseal(stored.data, position, stream, None), duplicate=True)

    async def _refresh(self, stream: StreamName) -> Head:
        known = self._heads.get(stream)
        await self._read_from(stream, known.end if known else End())
        return self._heads[stream]

    async def _read_from(self, stream: StreamName, end: End) -> list[Recorded]:
        """Return the events that follow *end*, up to what the leader calls the last, and note them in the head."""
        subject = of_stream(stream)
        newest = await self._jetstream.last_message(EVENTS, subject)
        last = 0 if newest is None else newest.seq
        if last < end.position:
            raise LogReplaced(f"a commit of {stream} at position {end.position}", f"its last at {last}")
        link, read = end.link, list[tuple[bytes, tuple[Recorded, ...]]]()
        async with aclosing(self._reader.until(after=end.position, until=last, subject=subject)) as batches:
            async for batch in batches:
                for raw in batch:
                    events = self._codec.unseal(raw.data, raw.position, stream, link)
                    link = link_after(raw.data, events)
                    read.append((raw.data, events))
        head = self._heads.setdefault(stream, Head())
        for data, events in read:
            head.extend(data, events)
        return [event for _, events in read for event in events]

    def _unseal(self, raw: Raw, chains: Chains) -> tuple[Recorded, ...]:
        return self._codec.read(raw.data, raw.position, _stream(raw), chains)

    async def _info(self) -> StreamInfo:
        info = await self._jetstream.stream_info(EVENTS)
        if info is None:
            raise LogReplaced(f"a stream {EVENTS}", "none: it was deleted")
        return info


def identity_of(info: StreamInfo) -> LogIdentity:
    """Return the identity that *info* tells; an empty log begins at position 1."""
    created = info.created or _EPOCH
    metadata: dict[str, str] = info.config.get("metadata") or {}
    born = metadata.get(BIRTH)
    created_ns = int(born) if born else (created - _EPOCH) // timedelta(microseconds=1) * 1000
    return LogIdentity(created_ns, max(1, info.state.first_seq), info.state.last_seq)


def _stream(raw: Raw) -> StreamName:
    stream = stream_of(raw.subject)
    if stream is None:
        raise LogCorrupt(raw.position, "subject", "esper.evt.<aggregate>.<id>", raw.subject)
    return stream


def _refuse_beyond(head: int, after: int) -> None:
    if after > head:
        raise LogReplaced(f"a log of at least {after} positions", f"{head}")
