"""A delivered message and the verbs that end it; dead letters are written before a message is given up."""

from collections.abc import Sequence

import msgspec

from eventstore.oona.burial import GIVEN_UP, Source, bury
from eventstore.oona.pull import Raw
from eventstore.store import CommandRecord, Recorded


class OonaDelivery:
    """One delivered message. A verb that fails with `StoreUnavailable` leaves it to be delivered again."""

    def __init__(self, source: Source, raw: Raw) -> None:
        self._source = source
        self._raw = raw

    @property
    def attempt(self) -> int:
        """1 for the first delivery."""
        return self._raw.attempt

    async def ack(self) -> None:
        """It is done: never deliver it again (but a server that crashes may forget the acks of its last moments)."""
        await self._settle(b"+ACK", "acknowledging")

    async def retry_later(self, delay_s: float) -> None:
        """Deliver it again after *delay_s* seconds."""
        body = msgspec.json.encode({"delay": max(1, int(delay_s * 1e9))})
        await self._settle(b"-NAK " + body, "postponing")

    async def in_progress(self) -> None:
        """Still at work: start the redelivery clock anew."""
        await self._settle(b"+WPI", "prolonging")

    async def dead_letter(self, error: str) -> None:
        """Keep the original bytes, headers and *error* among the dead letters, then never deliver it again."""
        await bury(self._source, self._raw, GIVEN_UP, error)

    async def _settle(self, verb: bytes, doing: str) -> None:
        name = f"{doing} message {self._raw.position} of {self._source.stream}"
        await self._source.jetstream.connection.request(self._raw.reply, verb, doing=name)


class OonaCommandDelivery(OonaDelivery):
    """A delivered command."""

    def __init__(self, source: Source, raw: Raw, record: CommandRecord) -> None:
        super().__init__(source, raw)
        self._record = record

    @property
    def record(self) -> CommandRecord:
        """The command, its signature verified."""
        return self._record


class OonaEventDelivery(OonaDelivery):
    """A delivered commit."""

    def __init__(self, source: Source, raw: Raw, events: Sequence[Recorded]) -> None:
        super().__init__(source, raw)
        self._events = events

    @property
    def events(self) -> Sequence[Recorded]:
        """The commit's events, verified."""
        return self._events
