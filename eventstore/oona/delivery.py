"""A delivered message and the verbs that end it; dead letters are written before a message is given up."""

from collections.abc import Mapping, Sequence

import msgspec

from eventstore import subjects
from eventstore.errors import StoreUnavailable
from eventstore.oona.jetstream import JetStream, Refused
from eventstore.oona.pull import Raw
from eventstore.store import CommandRecord, Recorded

ORIGINAL = "Esper-Original-"


class Source(msgspec.Struct, frozen=True):
    """Where deliveries come from."""

    jetstream: JetStream
    stream: str
    consumer: str


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
        await bury(self._source, self._raw, error)

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


async def bury(source: Source, raw: Raw, error: str) -> None:
    """Write *raw* to the dead letters; once that is acknowledged, never have it delivered again.

    Raises:
        StoreUnavailable: it could not be written; it will be delivered again.
    """
    doing = f"burying message {raw.position} of {source.stream}"
    headers = {f"{ORIGINAL}{key}": value for key, value in raw.headers.items()} | {
        "Nats-Msg-Id": f"{source.stream}-{source.consumer}-{raw.position}",
        "Esper-Error": " ".join(error.split()),
        "Esper-Subject": raw.subject,
        "Esper-Stream": source.stream,
        "Esper-Consumer": source.consumer,
        "Esper-Position": str(raw.position),
        "Esper-Deliveries": str(raw.attempt),
    }
    subject = f"{subjects.DEAD_LETTERS}.{source.stream}.{source.consumer}"
    try:
        await source.jetstream.publish(subject, raw.data, headers, doing=doing)
    except Refused as refused:
        raise StoreUnavailable(doing, refused.description) from refused
    await source.jetstream.connection.request(raw.reply, b"+TERM", doing=doing)


class DeadLetter(msgspec.Struct, frozen=True):
    """A message that was given up: its original bytes and headers, where it was, and why."""

    subject: str
    stream: str
    consumer: str
    position: int
    deliveries: int
    error: str
    data: bytes
    headers: Mapping[str, str]


def dead_letter(raw: Raw) -> DeadLetter:
    """Return the dead letter that *raw* holds."""
    own = raw.headers
    return DeadLetter(
        subject=own["Esper-Subject"],
        stream=own["Esper-Stream"],
        consumer=own["Esper-Consumer"],
        position=int(own["Esper-Position"]),
        deliveries=int(own["Esper-Deliveries"]),
        error=own["Esper-Error"],
        data=raw.data,
        headers={key.removeprefix(ORIGINAL): value for key, value in own.items() if key.startswith(ORIGINAL)},
    )
