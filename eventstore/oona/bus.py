"""Commands to actors, events to reactors, questions to whoever serves them."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

from nats.aio.msg import Msg

from eventstore import subjects
from eventstore.admission import Freshness, Nonces, Refusal, refusal
from eventstore.commands import CommandCodec
from eventstore.commit import Chains, CommitCodec
from eventstore.errors import AnswerTooLarge, CommandInvalid, CommitTooLarge, LogCorrupt, LogFull, StoreUnavailable
from eventstore.oona.burial import Source, bury
from eventstore.oona.connection import Connection
from eventstore.oona.delivery import OonaCommandDelivery, OonaEventDelivery
from eventstore.oona.durable import DurableReader
from eventstore.oona.jetstream import HEADER_ROOM_BYTES, LOG_FULL, JetStream, Refused
from eventstore.oona.pull import Raw
from eventstore.oona.streams import COMMANDS, EMERGENCY, EVENTS
from eventstore.store import DELIVERIES_AT_MOST, CommandRecord, Recorded

MAX_UNSETTLED_COMMANDS = 64
MAX_UNSETTLED_ALARMS = 4096
EVENT_ACK_WAIT_S = 60.0
_PAUSE_S = 0.2

_log = logging.getLogger("eventstore.oona")


class OonaBus:
    """A `CommandBus` and `QueryBus` over one connection."""

    def __init__(
        self,
        jetstream: JetStream,
        commands: CommandCodec,
        commits: CommitCodec,
        nonces: Nonces,
        *,
        freshness: Freshness | None = None,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._jetstream = jetstream
        self._nonces = nonces
        self._freshness = freshness or Freshness()
        self._commands = commands
        self._commits = commits
        self._now_ns = now_ns

    async def send(self, record: CommandRecord) -> None:
        """Put *record* in its target's queue, durably; sending the same command id again is harmless.

        Raises:
            StoreUnavailable: not known whether it was queued; send it again.
            LogFull, CommitTooLarge: it was not queued.
        """
        await self._queue(record, COMMANDS, subjects.of_target(record.target))

    async def alarm(self, record: CommandRecord) -> None:
        """Put the emergency *record* in its target's emergency queue, past everything that waits.

        Raises:
            StoreUnavailable: not known whether it was queued; send it again.
        """
        await self._queue(record, EMERGENCY, subjects.of_emergency(record.target))

    async def _queue(self, record: CommandRecord, stream: str, subject: str) -> None:
        data = self._commands.seal(record)
        limit = self._jetstream.connection.max_payload - HEADER_ROOM_BYTES
        if len(data) > limit:
            raise CommitTooLarge(len(data), limit)
        headers = {"Nats-Msg-Id": record.command_id, "Nats-Expected-Stream": stream}
        doing = f"sending {record.command.DESCRIPTOR.name} to {record.target}"
        try:
            await self._jetstream.publish(subject, data, headers, doing=doing)
        except Refused as refused:
            if refused.err_code in LOG_FULL:
                raise LogFull(stream, refused.description) from refused
            raise StoreUnavailable(doing, refused.description) from refused

    async def commands(
        self, target: str, *, ack_wait_s: float = 60.0, deliveries_at_most: int = DELIVERIES_AT_MOST
    ) -> AsyncGenerator[OonaCommandDelivery, None]:
        """Yield the commands for *target*, one at a time, oldest first, without end.

        One that is refused (see `eventstore.admission`) goes to the dead letters at once and is not yielded.
        """
        name = subjects.token(target)
        messages = DurableReader(self._jetstream, COMMANDS, name).messages(
            [f"{subjects.COMMANDS}.{name}.>"],
            ack_wait_s=ack_wait_s,
            max_unsettled=MAX_UNSETTLED_COMMANDS,
            deliveries_at_most=deliveries_at_most,
        )
        async with aclosing(self._admitted_from(messages, COMMANDS, name)) as deliveries:
            async for delivery in deliveries:
                yield delivery

    async def alarms(self, target: str, *, ack_wait_s: float = 60.0) -> AsyncGenerator[OonaCommandDelivery, None]:
        """Yield the emergencies for *target*, oldest first, without end and as often as it takes.

        Its own stream and reader: neither the commands that wait nor their number can hold it up.
        """
        name = subjects.token(target)
        messages = DurableReader(self._jetstream, EMERGENCY, name).messages(
            [subjects.of_emergency(name)], ack_wait_s=ack_wait_s, max_unsettled=MAX_UNSETTLED_ALARMS
        )
        async with aclosing(self._admitted_from(messages, EMERGENCY, name)) as deliveries:
            async for delivery in deliveries:
                yield delivery

    async def _admitted_from(
        self, messages: AsyncGenerator[Raw, None], stream: str, name: str
    ) -> AsyncGenerator[OonaCommandDelivery, None]:
        source = Source(self._jetstream, stream, name)
        async with aclosing(messages) as raws:
            async for raw in raws:
                admitted = await self._judged(source, raw, name)
                if admitted is not None:
                    yield OonaCommandDelivery(source, raw, admitted)

    async def _judged(self, source: Source, raw: Raw, name: str) -> CommandRecord | None:
        """Return the command in *raw*, or None once it is buried. Waits until the log can say which of the two."""
        connection = self._jetstream.connection
        while True:
            try:
                admitted = await self._admitted(raw, name)
                if isinstance(admitted, CommandRecord):
                    return admitted
                await bury(source, raw, admitted.verdict, admitted.detail)
                return None
            except StoreUnavailable as reason:
                if connection.closed:
                    raise
                _log.warning("command %s for %s waits to be admitted: %s", raw.position, name, reason)
                await asyncio.sleep(_PAUSE_S)
                await connection.until_back()

    async def events(self, name: str, aggregates: Sequence[str]) -> AsyncGenerator[OonaEventDelivery, None]:
        """Yield every commit of *aggregates* to the durable reader *name*, from the log's beginning, without end.

        Raises:
            LogCorrupt, UnknownEventType: at the first commit that fails; it is delivered again to the next reading.
        """
        source = Source(self._jetstream, EVENTS, subjects.token(name))
        reader = DurableReader(self._jetstream, EVENTS, name)
        filters = [subjects.of_aggregate(aggregate) for aggregate in aggregates]
        chains, position = Chains(from_start=False), 0
        messages = reader.messages(filters, ack_wait_s=EVENT_ACK_WAIT_S, max_unsettled=1)
        async with aclosing(messages) as raws:
            async for raw in raws:
                seen_before = raw.position <= position
                yield OonaEventDelivery(source, raw, self._unseal(raw, None if seen_before else chains))
                position = max(position, raw.position)

    async def ask(self, subject: str, request: bytes, *, timeout_s: float) -> bytes:
        """Return the answer of whoever serves *subject*."""
        connection = self._jetstream.connection
        return (await connection.request(subject, request, doing=f"asking {subject}", wait_s=timeout_s)).data

    async def requests(self, subject: str) -> AsyncGenerator["OonaRequest", None]:
        """Yield requests to *subject*, without end, across lost connections."""
        waiting: asyncio.Queue[Msg] = asyncio.Queue()
        connection = self._jetstream.connection
        subscription = await connection.subscribe(subject, waiting.put)
        try:
            while True:
                yield OonaRequest(connection, await waiting.get())
        finally:
            await connection.unsubscribe(subscription)

    async def _admitted(self, raw: Raw, target: str) -> CommandRecord | Refusal:
        try:
            record = self._commands.unseal(raw.data, target)
        except CommandInvalid as invalid:
            return Refusal(invalid.verdict, invalid.reason)
        refused = await refusal(record, raw.stored_at_ns, self._now_ns(), self._nonces, self._freshness)
        return refused or record

    def _unseal(self, raw: Raw, chains: Chains | None) -> tuple[Recorded, ...]:
        stream = subjects.stream_of(raw.subject)
        if stream is None:
            raise LogCorrupt(raw.position, "subject", "esper.evt.<aggregate>.<id>", raw.subject)
        if chains is None:
            return self._commits.unseal(raw.data, raw.position, stream, None)
        return self._commits.read(raw.data, raw.position, stream, chains)


class OonaRequest:
    """A question that waits for its answer."""

    def __init__(self, connection: Connection, message: Msg) -> None:
        self._connection = connection
        self._message = message

    @property
    def data(self) -> bytes:
        """The question."""
        return self._message.data

    async def answer(self, data: bytes) -> None:
        """Send *data* to the asker.

        Raises:
            AnswerTooLarge: nothing was sent.
            StoreUnavailable: the connection is down; the asker has noticed too.
        """
        if len(data) > self._connection.max_payload:
            raise AnswerTooLarge(len(data), self._connection.max_payload)
        await self._connection.publish(self._message.reply, data, doing="answering")
