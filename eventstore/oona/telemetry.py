"""Telemetry: sent in fast-ingest batches by who must never wait for it, heard in large batches by one reader."""

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec

from eventstore import subjects
from eventstore.admission import Refusal
from eventstore.errors import StoreUnavailable
from eventstore.oona.durable import DurableReader
from eventstore.oona.ingest import Batch, FastIngest
from eventstore.oona.jetstream import JetStream
from eventstore.oona.lag import Lag, lags
from eventstore.oona.pull import Raw
from eventstore.oona.streams import TELEMETRY
from eventstore.shedding import Counts, Message, SheddingQueue
from eventstore.signing import Keys
from eventstore.telemetry import seal, unseal

HEARD_AT_ONCE = 500
UNSETTLED_AT_MOST = 2 * HEARD_AT_ONCE
ACK_WAIT_S = 60.0

_log = logging.getLogger("eventstore.oona")


class SendSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much telemetry may wait in memory, how much is sent in one batch, and how long an answer may take.

    After a batch that failed the next one waits `pause_s`.
    """

    capacity: int = 10_000
    batch: int = 5_000
    ack_wait_s: float = 15.0
    pause_s: float = 1.0


class TelemetryPublisher:
    """Sends what it is offered as soon as it can, until cancelled. Delivery is at most once, and every message's end
    is counted: stored, shed or lost.
    """

    def __init__(self, jetstream: JetStream, keys: Keys, settings: SendSettings) -> None:
        self.settings = settings
        self.queue = SheddingQueue(settings.capacity)
        self._connection, self._keys = jetstream.connection, keys
        self._ingest = FastIngest(jetstream.connection)
        self._loop = asyncio.get_running_loop()
        self._woken, self._asleep = asyncio.Event(), threading.Event()
        self._failing = False

    @property
    def counts(self) -> Counts:
        """What became of every message that was offered."""
        return self.queue.counts

    def offer(self, subject: str, packet: bytes, priority: int) -> bool:
        """Take *packet* to be sent on *subject*, or shed it: return which. From any thread; never waits, never fails.

        *subject* begins with `esper.tel.` (see `eventstore.subjects`); *priority* is 1 (least) to 5 (never shed).
        """
        taken = self.queue.offer(Message(subject, packet, priority))
        if taken and self._asleep.is_set():
            self._asleep.clear()
            try:
                self._loop.call_soon_threadsafe(self._woken.set)
            except RuntimeError:
                # The loop has ended: what waits is counted as waiting, and nobody will send it.
                return taken
        return taken

    async def run(self) -> None:
        """Send what is offered, across lost connections, until cancelled or the connection is closed."""
        while not self._connection.closed:
            await self._something()
            await self._connection.until_back()
            if not await self._send_batch():
                await asyncio.sleep(self.settings.pause_s)

    async def drain(self, wait_s: float) -> None:
        """Send what waits now, at most *wait_s* seconds long; for whoever is about to close the connection.

        `run` must have ended.
        """
        try:
            async with asyncio.timeout(wait_s):
                while len(self.queue) and self._connection.connected and await self._send_batch():
                    continue
        except TimeoutError:
            _log.warning("%s telemetry messages were left unsent", len(self.queue))

    async def _something(self) -> None:
        while not len(self.queue):
            self._woken.clear()
            self._asleep.set()
            # Whoever offered between the two looks may not have seen that there is somebody to wake.
            if len(self.queue):
                return
            await self._woken.wait()

    async def _send_batch(self) -> bool:
        """Send one batch and say whether all of it was stored."""
        taken = self.queue.take(self.settings.batch)
        batch = Batch(len(taken))
        try:
            sealed = ((one.subject, seal(self._keys, one.subject, one.data)) for one in taken)
            await self._ingest.store(sealed, batch, wait_s=self.settings.ack_wait_s)
        finally:
            self.queue.give_back(taken[batch.sent :])
            self.queue.settle(stored=batch.stored, lost=batch.sent - batch.stored)
        if batch.fault and (not self._failing or batch.sent > batch.stored):
            _log.warning("%s telemetry messages were not stored: %s", batch.sent - batch.stored, batch.fault)
        self._failing = bool(batch.fault)
        return batch.stored == batch.size


class Heard(msgspec.Struct, frozen=True):
    """A packet of telemetry, verified: where it was stored, under which subject, and how often it was delivered."""

    position: int
    attempt: int
    subject: str
    packet: bytes


class HeardBatch(msgspec.Struct, frozen=True):
    """What one reading brought, up to `position`: packets, and how many were refused, by verdict."""

    position: int
    packets: tuple[Heard, ...]
    refused: dict[str, int]


class OonaTelemetry:
    """The telemetry lane of one connection."""

    def __init__(self, jetstream: JetStream, keys: Keys) -> None:
        self._jetstream, self._keys = jetstream, keys

    def publisher(self, settings: SendSettings | None = None) -> TelemetryPublisher:
        """Return a publisher for the running event loop; it sends while its `run` is awaited."""
        return TelemetryPublisher(self._jetstream, self._keys, settings or SendSettings())

    async def heard(self, name: str) -> AsyncGenerator[HeardBatch, None]:
        """Yield what the durable reader *name* has not heard yet, oldest first, without end.

        A batch counts as heard when the next one is asked for: who dies before that is given it again.

        Raises:
            StoreUnavailable: the server did not answer at the start.
        """
        reader = DurableReader(self._jetstream, TELEMETRY, subjects.token(name))
        batches = reader.batches(
            [f"{subjects.TELEMETRY}.>"], batch=HEARD_AT_ONCE, ack_wait_s=ACK_WAIT_S, max_unsettled=UNSETTLED_AT_MOST
        )
        async with aclosing(batches) as flow:
            async for raws in flow:
                yield self._verified(raws)
                await self._acknowledge(raws[-1])

    async def lags(self) -> tuple[Lag, ...]:
        """Return how far behind every durable reader of the fabric is, the farthest first.

        Raises:
            StoreUnavailable: the server did not answer: the depth is unknown, which is not 0.
        """
        return await lags(self._jetstream)

    def _verified(self, raws: list[Raw]) -> HeardBatch:
        packets: list[Heard] = []
        refused: dict[str, int] = {}
        for raw in raws:
            packet = unseal(self._keys, raw.subject, raw.data)
            if isinstance(packet, Refusal):
                refused[packet.verdict] = refused.get(packet.verdict, 0) + 1
            else:
                packets.append(Heard(raw.position, raw.attempt, raw.subject, packet))
        if refused:
            _log.warning("telemetry was refused: %s", refused)
        return HeardBatch(raws[-1].position, tuple(packets), refused)

    async def _acknowledge(self, last: Raw) -> None:
        """Acknowledge everything up to *last*; unheard, it is delivered again."""
        try:
            await self._jetstream.connection.publish(last.reply, b"+ACK", doing="acknowledging telemetry")
        except StoreUnavailable as unavailable:
            _log.info("telemetry is heard again after %s: %s", last.position, unavailable.cause)
