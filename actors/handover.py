"""What the training thread hands to the log with a promise and no question: it is in the outbox first.

an epoch's facts ─┐
a missed decision ┼─→ outbox ─→ drain: dispatch under its own id, react, acknowledge
the run's end ────┘

Questions - what Tamiyo decides, whether a seed may change - are never put there: an answer that comes after its fence
would be a change that nobody waits for. What they would have done is withdrawn when the missed decision is recorded.
"""

import asyncio
from typing import Any, NamedTuple

import structlog
from google.protobuf.message import Message

from actors.outbox import Letter, Outbox, OutboxFull
from actors.reporting import Reporting, decided
from actors.streams import policy_stream, run_stream, seed_stream
from actors.voice import Voice
from esper.kasmina.rules.seed import Seed, SeedCommand
from esper.leyline.decider import Decider, RuleBroken
from esper.leyline.registry import HANDED_OVER
from esper.leyline.v1.policy_pb2 import DecisionMade, MissDecision, WithdrawDecision
from esper.leyline.v1.run_pb2 import EndEpoch, EpochFacts, FinishRun, RunSummary, SkipEpochs
from esper.leyline.v1.seed_pb2 import RefuseSeedCommand
from esper.leyline.v1.site_pb2 import Moment
from esper.tolaria.rules.run import RUN
from eventstore.commands import CommandCodec
from eventstore.commit import commit_id, event_id
from eventstore.errors import CommandInvalid
from eventstore.signing import Keys
from eventstore.store import Appended, CommandRecord, Recorded, StreamName

TARGET = "tolaria"
# Room for the note that an epoch's decision was missed, so that facts are never there without it.
ROOM_FOR_A_MISS_BYTES = 4096
WITHDRAWN = "withdrawn: the log did not answer before its fence had passed"

_log = structlog.get_logger(__name__)


class Rules(NamedTuple):
    """The rules of the run's seeds, and of its controller if it has one."""

    seed: Decider[Seed, SeedCommand, Any]
    policy: Decider[Any, Any, Any] | None


class Found(NamedTuple):
    """What a seed's stream holds of one decision: whether its command was answered, and its withdrawal."""

    answered: bool
    withdrawal: Recorded | None


class Handover:
    """One run's outbox at both its ends. `put_*` are called by the training thread and wait for nothing but a write;
    coroutines run on the background loop."""

    def __init__(self, voice: Voice, reporting: Reporting, rules: Rules, outbox: Outbox, keys: Keys) -> None:
        self.refused: tuple[str, ...] = ()
        self._voice, self._reporting, self._rules = voice, reporting, rules
        self._outbox, self._codec = outbox, CommandCodec(keys, HANDED_OVER)
        self._run, self._policy = run_stream(voice.run_id), policy_stream(voice.run_id)
        self._ended: dict[int, Appended] = {}
        self._withdrawn_from: set[str] = set()
        self._skipping_from = 0

    @property
    def depth(self) -> int:
        """How many facts wait for the log."""
        return self._outbox.depth

    def put_epoch(self, facts: EpochFacts) -> bool:
        """Put an epoch's facts; False if there was no room, and only its number is kept.

        Once an epoch is skipped, so is every later one until the log has taken what waits: a run has no holes.
        """
        facts.outbox_depth = self.depth
        try:
            if self._skipping_from and self.depth:
                raise OutboxFull(self._outbox.limit_bytes, self._outbox.limit_bytes)
            sealed = self._sealed(self._run, EndEpoch(facts=facts), f"epoch/{facts.at.epoch}")
            self._outbox.put(sealed, keep_free=ROOM_FOR_A_MISS_BYTES)
        except OutboxFull as full:
            self._skip(facts.at, str(full))
            return False
        self._skipping_from = 0
        return True

    def _skip(self, at: Moment, reason: str) -> None:
        first = self._skipping_from = self._skipping_from or at.epoch
        skip = SkipEpochs(first_epoch=first, at=at, reason=reason)
        self._outbox.put_as_last_resort(self._sealed(self._run, skip, f"skip/{first}/{at.epoch}"))

    def put_miss(self, at: Moment, reason: str) -> None:
        """Put that nothing was decided upon the epoch that ended at *at*, and why."""
        if self._rules.policy is None:
            return
        ended = commit_id(self._run, self._voice.command_id(self._run, f"epoch/{at.epoch}"))
        miss = MissDecision(at=at, reason=reason[: ROOM_FOR_A_MISS_BYTES // 4])
        sealed = self._sealed(self._policy, miss, f"missed/{at.epoch}", causation=event_id(ended, 0))
        try:
            self._outbox.put(sealed)
        except OutboxFull:
            # There was room when the facts were put: the disk itself is full since.
            self._outbox.put_as_last_resort(sealed)

    def put_end(self, summary: RunSummary) -> bool:
        """Put the run's end; False if there was no room."""
        try:
            self._outbox.put(self._sealed(self._run, FinishRun(summary=summary), "finish"))
        except OutboxFull:
            return False
        return True

    def _sealed(self, stream: StreamName, command: Message, purpose: str, causation: str = "") -> bytes:
        return self._codec.seal(
            CommandRecord(
                command_id=self._voice.command_id(stream, purpose),
                target=TARGET,
                command=command,
                stream=stream,
                issued_at_ns=self._voice.clock.now_ns(),
                issued_by="tamiyo" if stream == self._policy else "tolaria",
                causation_id=causation,
                correlation_id=self._voice.run_id,
                run_id=self._voice.run_id,
            )
        )

    async def drain(self) -> None:
        """Give the log what waits, the oldest first; what was given before is answered from the record.

        Raises:
            StoreUnavailable: the log did not answer; what it has not acknowledged waits on.
        """
        for letter in self._outbox.waiting():
            await self._deliver(letter)
            self._outbox.acknowledge(letter.number)

    def ended(self, epoch: int) -> Appended | None:
        """Return the log's answer to the facts of *epoch*, once; None if this process has not drained them."""
        found = self._ended.pop(epoch, None)
        self._ended.clear()
        return found

    def withdrawn_from(self) -> set[str]:
        """Return the seeds whose streams gained a withdrawal since this was asked last."""
        found, self._withdrawn_from = self._withdrawn_from, set()
        return found

    async def sync(self) -> None:
        """Have the disk hold what waits, so that it outlives a power cut too; the training thread goes on meanwhile."""
        try:
            await asyncio.to_thread(self._outbox.sync)
        except OSError as error:
            _log.warning("the outbox could not be synced", run=self._voice.run_id, why=str(error))

    async def _deliver(self, letter: Letter) -> None:
        try:
            record = self._codec.unseal(letter.data, TARGET)
            if isinstance(record.command, MissDecision):
                await self._record_miss(record, record.command)
            else:
                await self._record(record)
        except (RuleBroken, CommandInvalid) as refused:
            # Another process went on with the run meanwhile, or somebody else wrote into the file. It is told, and it
            # must not hold up what comes after it.
            self.refused = (*self.refused, str(refused))
            _log.warning(
                "a fact in the outbox was refused", run=self._voice.run_id, number=letter.number, why=str(refused)
            )

    async def _record(self, record: CommandRecord) -> None:
        appended = await self._voice.send(RUN, record.stream, record.command, record.command_id)
        if appended is None:
            return
        await self._reporting.react(appended.events[0])
        if isinstance(record.command, EndEpoch):
            self._ended[record.command.facts.at.epoch] = appended

    async def _record_miss(self, record: CommandRecord, miss: MissDecision) -> None:
        if self._rules.policy is None:
            return
        # Recorded first: with it in the stream, no decision upon this epoch can still arrive.
        await self._voice.send(
            self._rules.policy,
            record.stream,
            miss,
            record.command_id,
            causation=record.causation_id,
            actor="tamiyo",
        )
        for recorded in await self._voice.log.store.read_stream(self._policy):
            decision = recorded.event
            if isinstance(decision, DecisionMade) and decision.at.epoch == miss.at.epoch:
                chosen = decision.WhichOneof("command")
                if chosen is not None:
                    await self._withdraw_if_lost(recorded, decision, getattr(decision, chosen))

    async def _withdraw_if_lost(self, made: Recorded, decision: DecisionMade, command: Message) -> None:
        """See to it that a decision either had its consequence or can have none any more, and is known for that."""
        stream = seed_stream(self._voice.run_id, decision.seed_id)
        found = await self._found(stream, made.event_id)
        if found.withdrawal is None and not found.answered:
            refusal = RefuseSeedCommand(at=decision.at, command_type=type(command).__name__, reason=WITHDRAWN)
            # An append of ours that was acknowledged leaves no room for an earlier one that is still on its way.
            await self._voice.tell(
                self._rules.seed,
                stream,
                refusal,
                f"withdrawal/{made.event_id}",
                causation=made.event_id,
                actor="kasmina",
            )
            self._withdrawn_from.add(decision.seed_id)
            found = await self._found(stream, made.event_id)
        if found.withdrawal is None or found.answered:
            return
        await self._reporting.react(found.withdrawal)
        assert self._rules.policy is not None  # noqa: S101
        await self._voice.tell(
            self._rules.policy,
            self._policy,
            WithdrawDecision(
                at=decision.at,
                decision_id=made.event_id,
                action=decision.action,
                seed_id=decision.seed_id,
                blueprint_id=decision.blueprint_id,
                reason=WITHDRAWN,
            ),
            f"withdraw/{made.event_id}",
            causation=found.withdrawal.event_id,
            actor="tamiyo",
        )

    async def _found(self, stream: StreamName, decision_id: str) -> Found:
        purpose = decided(decision_id)
        answers = {self._voice.command_id(stream, name) for name in (purpose, f"refusal/{purpose}")}
        withdrawal_id = self._voice.command_id(stream, f"withdrawal/{decision_id}")
        events = await self._voice.log.store.read_stream(stream)
        withdrawals = [recorded for recorded in events if recorded.context.command_id == withdrawal_id]
        answered = any(recorded.context.command_id in answers for recorded in events)
        return Found(answered, withdrawals[0] if withdrawals else None)
