"""Pulling messages from a consumer with bounded memory, noticing when the flow breaks."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from uuid import uuid4

import msgspec

from eventstore.oona.connection import Connection
from eventstore.oona.tapping import header_fields

HEARTBEAT_S = 2.0
EXPIRES_S = 30.0
# A server drops a reader for which it has to hold more than 64 MiB: two requests must stay well below that.
MOST_BYTES = 16 * 1024 * 1024

_V1_TOKENS = 9


class Interrupted(Exception):
    """The flow broke: a gap, a missed heartbeat, a deleted consumer, a lost connection. Start anew where you were."""


class Raw(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A message as it came from its stream, not yet verified; `stored_at_ns` is when the server stored it."""

    position: int
    attempt: int
    stored_at_ns: int
    subject: str
    data: bytes
    header_block: bytes
    reply: str

    @property
    def headers(self) -> Mapping[str, str]:
        """Its headers; few readers look at them, so that they are read only then."""
        return header_fields(self.header_block)


class Pull:
    """The flow of one consumer: at most two batches are requested but not yet taken."""

    def __init__(self, connection: Connection, stream: str, consumer: str, *, batch: int, gapless: bool) -> None:
        """Read *consumer* of *stream*. *gapless* (no acks, no redelivery) makes a hole in the flow an interruption."""
        self._connection = connection
        self._request_subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._doing = f"reading {stream}"
        self._batch, self._gapless = batch, gapless
        self._inbox = f"{connection.new_inbox()}.{uuid4().hex}"
        self._taken: list[Raw] = []
        self._owed = 0
        self._consumer_sequence = 0
        self._broken = ""
        self._idle = False
        self._woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def batches(self) -> AsyncGenerator[list[Raw], None]:
        """Yield what has arrived, in order, without end; an empty list when for a while there was nothing to send.

        Raises:
            Interrupted: start anew after the last position.
            StoreUnavailable: the connection is down.
        """
        lost = self._connection.lost
        subscription = await self._connection.tap(self._inbox, self._on_message)
        try:
            while True:
                # After a reconnection a request would be answered here, where nobody will listen by then.
                if self._owed < self._batch and not lost.done():
                    await self._request()
                await self._wait(lost)
                taken, self._taken = self._taken, []
                if taken:
                    yield taken
                elif self._broken:
                    raise Interrupted(self._broken)
                elif self._idle:
                    self._idle = False
                    yield []
        finally:
            await self._connection.unsubscribe(subscription)

    async def _wait(self, lost: "asyncio.Future[None]") -> None:
        if self._taken or self._broken:
            return
        await asyncio.wait({self._woken, lost}, timeout=HEARTBEAT_S * 2.5, return_when=asyncio.FIRST_COMPLETED)
        if self._woken.done():
            self._woken = asyncio.get_running_loop().create_future()
        elif lost.done():
            raise Interrupted("the connection was lost")
        else:
            raise Interrupted("heartbeats are missing")

    async def _request(self) -> None:
        body = {
            "batch": self._batch,
            "max_bytes": max(MOST_BYTES, 2 * self._connection.max_payload),
            "expires": int(EXPIRES_S * 1e9),
            "idle_heartbeat": int(HEARTBEAT_S * 1e9),
        }
        self._owed += self._batch
        await self._connection.publish(
            self._request_subject, msgspec.json.encode(body), doing=self._doing, reply=self._inbox
        )

    def _on_message(self, subject: bytes, reply: bytes, data: bytes, header_block: bytes) -> None:
        if reply:
            try:
                self._take(subject, reply, data, header_block)
            except (ValueError, IndexError):
                self._broken = self._broken or f"{reply!r} is no address for acknowledgements"
        else:
            self._heed(header_fields(header_block))
        if not self._woken.done():
            self._woken.set_result(None)

    def _take(self, subject: bytes, reply: bytes, data: bytes, header_block: bytes) -> None:
        tokens = reply.split(b".")
        first = 4 if len(tokens) == _V1_TOKENS else 6
        consumer_sequence = int(tokens[first + 2])
        if self._gapless and consumer_sequence != self._consumer_sequence + 1:
            self._broken = self._broken or f"message {self._consumer_sequence + 1} of the flow is missing"
        if self._broken:
            return
        self._consumer_sequence = consumer_sequence
        self._owed -= 1
        self._taken.append(
            Raw(
                position=int(tokens[first + 1]),
                attempt=int(tokens[first]),
                stored_at_ns=int(tokens[first + 3]),
                subject=subject.decode(),
                data=data,
                header_block=header_block,
                reply=reply.decode(),
            )
        )

    def _heed(self, headers: Mapping[str, str]) -> None:
        """A control message: a heartbeat, or the end of one request with what it still owed."""
        if headers.get("Status") == "100":
            self._idle = True
        elif "Nats-Pending-Messages" in headers:
            self._owed -= int(headers["Nats-Pending-Messages"])
        else:
            self._broken = headers.get("Description", "the consumer ended")
