"""What people decide about dead letters: each decision an event, then its effect.

buried ── RetryDeadLetter ─→ retried (and again, if its outcome was lost) ── DropDeadLetter ─→ dropped (for ever)
"""

import hashlib
from random import SystemRandom
from typing import Literal, TypeAlias, assert_never

import msgspec
from msgspec.structs import replace

from actors.clock import Clock
from actors.dispatch import dispatch, load
from actors.ids import derived_id, new_id
from esper.leyline.decider import Decider, RuleBroken
from esper.leyline.v1 import fabric_pb2
from esper.leyline.v1.fabric_pb2 import (
    BuryDeadLetter,
    DeadLetterBuried,
    DeadLetterDropped,
    DeadLetterRetried,
    DropDeadLetter,
    RetryDeadLetter,
)
from eventstore.oona.burial import DeadLetter
from eventstore.oona.dead import DeadLetters
from eventstore.store import Appended, CommandRecord, Context, EventStore, StreamName

FateCommand: TypeAlias = BuryDeadLetter | RetryDeadLetter | DropDeadLetter
FateEvent: TypeAlias = DeadLetterBuried | DeadLetterRetried | DeadLetterDropped


class Fate(msgspec.Struct, frozen=True):
    """What became of one dead letter."""

    status: Literal["unrecorded", "buried", "retried", "dropped"] = "unrecorded"
    retries: int = 0


class FateSealed(RuleBroken):
    """A decision about a dead letter that is no longer there, or not known yet."""

    def __init__(self, fate: Fate, command: FateCommand) -> None:
        self.status, self.command = fate.status, type(command).__name__
        super().__init__(f"a dead letter that is {fate.status} cannot {self.command}")


def decide(fate: Fate, command: FateCommand) -> list[FateEvent]:
    """Answer *command* with the events it causes."""
    match command:
        case BuryDeadLetter(letter=letter):
            return [DeadLetterBuried(letter=letter)] if fate.status == "unrecorded" else []
        case RetryDeadLetter() if fate.status in ("buried", "retried"):
            return [DeadLetterRetried(retry=fate.retries + 1, by=command.by, note=command.note)]
        case DropDeadLetter() if fate.status == "dropped":
            return []
        case DropDeadLetter() if fate.status != "unrecorded":
            return [DeadLetterDropped(by=command.by, note=command.note)]
        case RetryDeadLetter() | DropDeadLetter():
            raise FateSealed(fate, command)
        case _:
            assert_never(command)


def evolve(fate: Fate, event: FateEvent) -> Fate:
    """Fold one recorded fact into *fate*."""
    match event:
        case DeadLetterBuried():
            return replace(fate, status="buried")
        case DeadLetterRetried(retry=retry):
            return replace(fate, status="retried", retries=retry)
        case DeadLetterDropped():
            return replace(fate, status="dropped")
        case _:
            assert_never(event)


FATE: Decider[Fate, FateCommand, FateEvent] = Decider("DeadLetter", Fate(), decide, evolve)


class Registrar:
    """Records what is known and decided of dead letters in the log at hand, in one person's or actor's name."""

    def __init__(self, store: EventStore, dead: DeadLetters, clock: Clock, actor: str, epoch: int = 0) -> None:
        self._store, self._dead, self._clock, self._actor, self._epoch = store, dead, clock, actor, epoch

    async def record(self, letter: DeadLetter) -> None:
        """Record that *letter* was buried, unless that is recorded."""
        found = self._dead.command_in(letter)
        command = BuryDeadLetter(letter=_described(letter, found))
        await self._tell(letter, command, derived_id("bury", letter.letter_id), found)

    async def fate(self, letter: DeadLetter) -> Fate:
        """Return what became of *letter* so far."""
        return (await load(self._store, FATE, stream_of(letter.letter_id)))[0]

    async def retry(self, letter: DeadLetter, *, by: str, note: str = "") -> int:
        """Record the decision to queue *letter* again, then do so; return how many times that was done by now.

        Raises:
            NotRetryable, FateSealed: nothing was recorded.
            StoreUnavailable: not known how far it went; retry it again.
        """
        self._dead.require_retryable(letter)
        await self.record(letter)
        await self._tell(letter, RetryDeadLetter(by=by, note=note), new_id(self._clock, SystemRandom()))
        retries = (await self.fate(letter)).retries
        await self._dead.requeue(letter, retries)
        return retries

    async def drop(self, letter: DeadLetter, *, by: str, note: str = "") -> None:
        """Record the decision to drop *letter*, then remove its bytes; what is recorded of it stays.

        Raises:
            StoreUnavailable: not known how far it went; drop it again.
        """
        await self.record(letter)
        await self._tell(letter, DropDeadLetter(by=by, note=note), new_id(self._clock, SystemRandom()))
        await self._dead.forget(letter)

    async def _tell(
        self, letter: DeadLetter, command: FateCommand, command_id: str, about: CommandRecord | None = None
    ) -> Appended | None:
        context = Context(
            command_id=command_id,
            command_type=command.DESCRIPTOR.full_name,
            recorded_at_ns=self._clock.now_ns(),
            actor=self._actor,
            actor_epoch=self._epoch,
            causation_id=about.causation_id if about else "",
            correlation_id=about.correlation_id if about else "",
            run_id=about.run_id if about else "",
            traceparent=about.traceparent if about else "",
        )
        return await dispatch(self._store, FATE, stream_of(letter.letter_id), command, context)


def stream_of(letter_id: str) -> StreamName:
    """Return the stream of what became of one dead letter."""
    return StreamName("deadletter", letter_id)


def _described(letter: DeadLetter, found: CommandRecord | None) -> fabric_pb2.DeadLetter:
    return fabric_pb2.DeadLetter(
        letter_id=letter.letter_id,
        stream=letter.stream,
        consumer=letter.consumer,
        position=letter.position,
        subject=letter.subject,
        deliveries=letter.deliveries,
        reason=letter.reason,
        error=letter.error,
        sha256=hashlib.sha256(letter.data).hexdigest(),
        queued_at_ns=letter.queued_at_ns,
        command_id=found.command_id if found else "",
        command_type=found.command.DESCRIPTOR.full_name if found else "",
        issued_by=found.issued_by if found else "",
    )
