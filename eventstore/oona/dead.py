"""What becomes of dead letters: read, queued again, forgotten; and the backstop that buries what nobody gave up."""

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import msgspec

from eventstore import subjects
from eventstore.admission import too_late
from eventstore.commands import CommandCodec
from eventstore.errors import CommandInvalid, StoreUnavailable
from eventstore.oona.burial import EXHAUSTED as EXHAUSTED_REASON
from eventstore.oona.burial import DeadLetter, Source, bury, dead_letter
from eventstore.oona.delivery import OonaDelivery
from eventstore.oona.durable import DurableReader
from eventstore.oona.jetstream import JetStream, Refused, StoredMessage
from eventstore.oona.pull import Raw
from eventstore.oona.reading import LogReader
from eventstore.oona.streams import ADVISORY, COMMANDS, DEAD_LETTERS, EXHAUSTED
from eventstore.store import CommandRecord

_READER = "dead-letters"
_ACK_WAIT_S = 30.0


class NotRetryable(CommandInvalid):
    """A dead letter that cannot be queued again: it is no genuine command, or too late, or no command at all."""


class DeadLetterDelivery(OonaDelivery):
    """A dead letter given to a durable reader; None where somebody else wrote into the stream of dead letters."""

    def __init__(self, source: Source, raw: Raw) -> None:
        super().__init__(source, raw)
        self.letter = dead_letter(raw)


class _Exhausted(msgspec.Struct, frozen=True):
    """The server's word that it stopped delivering a message."""

    stream: str
    consumer: str
    stream_seq: int
    deliveries: int


class DeadLetters:
    """The stream of dead letters over one connection."""

    def __init__(
        self, jetstream: JetStream, commands: CommandCodec, *, now_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self._jetstream, self._commands, self._now_ns = jetstream, commands, now_ns

    async def all(self) -> list[DeadLetter]:
        """Return every message that was given up and not dropped since, oldest first."""
        every = f"{subjects.DEAD_LETTERS}.>"
        newest = await self._jetstream.last_message(DEAD_LETTERS, every)
        reader, last = LogReader(self._jetstream, DEAD_LETTERS), newest.seq if newest else 0
        async with aclosing(reader.until(after=0, until=last, subject=every)) as batches:
            letters = [dead_letter(raw) async for batch in batches for raw in batch]
        return [letter for letter in letters if letter is not None]

    async def each(self) -> AsyncGenerator[DeadLetterDelivery, None]:
        """Yield each dead letter to one durable reader, from the first on, without end."""
        source = Source(self._jetstream, DEAD_LETTERS, _READER)
        reader = DurableReader(self._jetstream, DEAD_LETTERS, _READER)
        messages = reader.messages([f"{subjects.DEAD_LETTERS}.>"], ack_wait_s=_ACK_WAIT_S, max_unsettled=1)
        async with aclosing(messages) as raws:
            async for raw in raws:
                yield DeadLetterDelivery(source, raw)

    def command_in(self, letter: DeadLetter) -> CommandRecord | None:
        """Return the command in *letter* if it is a genuine one that this program knows."""
        if letter.stream != COMMANDS:
            return None
        try:
            return self._commands.unseal(letter.data, letter.consumer)
        except CommandInvalid:
            return None

    async def requeue(self, letter: DeadLetter, retry: int) -> None:
        """Queue the command in *letter* once more for its actor, issued anew now; twice with one *retry* is harmless.

        Raises:
            NotRetryable: nothing was queued.
            StoreUnavailable: not known whether it was queued; do it again.
        """
        record = self._retryable(letter)
        renewed = self._commands.seal(msgspec.structs.replace(record, issued_at_ns=self._now_ns()))
        doing = f"queueing dead letter {letter.letter_id} again"
        headers = {"Nats-Msg-Id": f"{letter.letter_id}-{retry}", "Nats-Expected-Stream": COMMANDS}
        try:
            await self._jetstream.publish(letter.subject, renewed, headers, doing=doing)
        except Refused as refused:
            raise StoreUnavailable(doing, refused.description) from refused

    def require_retryable(self, letter: DeadLetter) -> None:
        """Return if `requeue` would not refuse *letter* now.

        Raises:
            NotRetryable: it would; says why.
        """
        self._retryable(letter)

    async def forget(self, letter: DeadLetter) -> None:
        """Remove *letter* and its bytes for good; harmless if that was done before."""
        await self._jetstream.delete(DEAD_LETTERS, letter.place)

    async def bury_exhausted(self) -> None:
        """Bury every command that killed its actor, or went unanswered, each time it was delivered. Runs for ever."""
        source = Source(self._jetstream, ADVISORY, _READER)
        reader = DurableReader(self._jetstream, ADVISORY, _READER)
        messages = reader.messages([f"{EXHAUSTED}.>"], ack_wait_s=_ACK_WAIT_S, max_unsettled=1)
        async with aclosing(messages) as raws:
            async for raw in raws:
                await self._bury_named_by(raw)
                await OonaDelivery(source, raw).ack()

    async def _bury_named_by(self, advisory: Raw) -> None:
        named = msgspec.json.decode(advisory.data, type=_Exhausted)
        if named.stream != COMMANDS:
            return
        stored = await self._jetstream.message(named.stream, named.stream_seq)
        if stored is not None:
            error = f"it was delivered {named.deliveries} times, and each time its actor ended without a word about it"
            source = Source(self._jetstream, named.stream, named.consumer)
            await bury(source, _as_delivered(stored, named.deliveries), EXHAUSTED_REASON, error)

    def _retryable(self, letter: DeadLetter) -> CommandRecord:
        if letter.stream != COMMANDS:
            raise NotRetryable(f"it is no command: what {letter.consumer} was given stays in {letter.stream}")
        try:
            record = self._commands.unseal(letter.data, letter.consumer)
        except CommandInvalid as invalid:
            raise NotRetryable(invalid.reason, invalid.verdict) from invalid
        late = too_late(record, self._now_ns())
        if late is not None:
            raise NotRetryable(late.detail, late.verdict)
        return record


def _as_delivered(stored: StoredMessage, deliveries: int) -> Raw:
    return Raw(
        position=stored.seq,
        attempt=deliveries,
        stored_at_ns=stored.stored_at_ns,
        subject=stored.subject,
        data=stored.data,
        header_block=stored.hdrs,
        reply="",
    )
