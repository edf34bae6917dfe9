"""Dead letters: messages that were given up, kept as they came, with where they were and why."""

import hashlib
from collections.abc import Mapping

import msgspec

from eventstore import subjects
from eventstore.errors import StoreUnavailable
from eventstore.oona.jetstream import WRONG_LAST_SEQUENCE, JetStream, Refused
from eventstore.oona.pull import Raw

ORIGINAL = "Esper-Original-"
GIVEN_UP = "given_up"
EXHAUSTED = "exhausted"
_ERROR_CHARACTERS_AT_MOST = 1500


class Source(msgspec.Struct, frozen=True):
    """Where deliveries come from."""

    jetstream: JetStream
    stream: str
    consumer: str


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A message that was given up: its original bytes and headers, where it was, and why.

    `letter_id` follows from where it was and what it holds, so that it is buried once. `place` is where it lies among
    the dead letters.
    """

    letter_id: str
    place: int
    buried_at_ns: int
    subject: str
    stream: str
    consumer: str
    position: int
    deliveries: int
    queued_at_ns: int
    reason: str
    error: str
    data: bytes
    headers: Mapping[str, str]


def letter_id(stream: str, consumer: str, position: int, data: bytes) -> str:
    """Return the id under which the message of *consumer* at *position* of *stream* is buried."""
    where = f"{stream}|{consumer}|{position}|".encode()
    return hashlib.sha256(where + data).hexdigest()[:16]


async def bury(source: Source, raw: Raw, reason: str, error: str) -> None:
    """Write *raw* to the dead letters, once however often it is tried; then never have it delivered again.

    Raises:
        StoreUnavailable: it could not be written; it will be delivered again.
    """
    doing = f"burying message {raw.position} of {source.stream}"
    this = letter_id(source.stream, source.consumer, raw.position, raw.data)
    headers = {f"{ORIGINAL}{key}": value for key, value in raw.headers.items()} | {
        "Nats-Msg-Id": this,
        "Nats-Expected-Last-Subject-Sequence": "0",
        "Esper-Reason": reason,
        "Esper-Error": " ".join(error.split())[:_ERROR_CHARACTERS_AT_MOST],
        "Esper-Subject": raw.subject,
        "Esper-Stream": source.stream,
        "Esper-Consumer": source.consumer,
        "Esper-Position": str(raw.position),
        "Esper-Deliveries": str(raw.attempt),
        "Esper-Queued-At": str(raw.stored_at_ns),
    }
    subject = f"{subjects.DEAD_LETTERS}.{source.stream}.{source.consumer}.{this}"
    try:
        await source.jetstream.publish(subject, raw.data, headers, doing=doing)
    except Refused as refused:
        # Another is on that subject: it was buried before, and only its end was not heard of.
        if refused.err_code != WRONG_LAST_SEQUENCE:
            raise StoreUnavailable(doing, refused.description) from refused
    if raw.reply:
        await source.jetstream.connection.request(raw.reply, b"+TERM", doing=doing)


def dead_letter(raw: Raw) -> DeadLetter | None:
    """Return the dead letter that *raw*, a message of the stream of dead letters, holds; None if it is not ours."""
    own = raw.headers
    try:
        return DeadLetter(
            letter_id=letter_id(own["Esper-Stream"], own["Esper-Consumer"], int(own["Esper-Position"]), raw.data),
            place=raw.position,
            buried_at_ns=raw.stored_at_ns,
            subject=own["Esper-Subject"],
            stream=own["Esper-Stream"],
            consumer=own["Esper-Consumer"],
            position=int(own["Esper-Position"]),
            deliveries=int(own["Esper-Deliveries"]),
            queued_at_ns=int(own["Esper-Queued-At"]),
            reason=own["Esper-Reason"],
            error=own["Esper-Error"],
            data=raw.data,
            headers={key.removeprefix(ORIGINAL): value for key, value in own.items() if key.startswith(ORIGINAL)},
        )
    except (KeyError, ValueError):
        return None
