"""The aggregates that live in the trainer's process - run, seeds, policy, field reports - and what happens at a fence.

Every command's id derives from the run and the command's purpose. So a run that was killed and re-executes a stretch
of its training finds the outcomes that the log already holds, instead of deciding a second time.
"""

from collections.abc import Callable, Mapping, Sequence

import msgspec
from google.protobuf.message import Message

from actors.changes import Backlog, Change, Instant
from actors.handover import Handover, Rules
from actors.outbox import Outbox
from actors.place import Log
from actors.prefetch import Prefetch
from actors.purposes import evicted_by, halting
from actors.reporting import Reporting, decided
from actors.streams import policy_stream, run_stream, seed_stream
from actors.timeline import Rollback, Timeline, Told
from actors.voice import Voice
from esper.kasmina.rules.seed import SeedCommand, SeedRuleBroken
from esper.leyline.v1.policy_pb2 import Candidate, DecisionMade, DecisionMissed, JudgeEpoch
from esper.leyline.v1.run_pb2 import (
    ChangeDeferred,
    Checkpoint,
    CommitCheckpoint,
    DeferChange,
    EndEpoch,
    EpochEnded,
    EpochFacts,
    EpochsSkipped,
    EvictKernels,
    ExpireCheckpoints,
    ExpiringCheckpoint,
    FreezeGrowth,
    HaltRun,
    ResumeRun,
    RollBackRun,
    RunFacts,
    RunFinished,
    RunRolledBack,
    StartRun,
    ThawGrowth,
)
from esper.leyline.v1.seed_pb2 import GerminateSeed, RefuseSeedCommand, RegisterSlot, SeedCommandRefused
from esper.leyline.v1.site_pb2 import Moment, Site
from esper.tolaria.rules.run import RUN
from eventstore.signing import Keys
from eventstore.store import Appended, LogIdentity, Recorded


class Answer(msgspec.Struct, frozen=True):
    """What the log holds in answer to a seed command: its events, and why it was refused if it was.

    No events: there was nothing to record, or the log is ahead of the model and holds no answer to this command.
    """

    events: tuple[Recorded, ...]
    refused: str = ""


class Fence(msgspec.Struct, frozen=True):
    """What an epoch's end brought: the facts as the log holds them, and what was decided upon them.

    The changes that the decisions caused wait in the trainer's backlog.
    """

    facts: EpochFacts
    recorded_before: bool
    decisions: tuple[DecisionMade, ...]


class Trainer:
    """One run's voice in the log. All coroutines run on the background loop; none touches a tensor.

    What the log holds of a seed happened, in that order and no other: a command to a seed whose `backlog` is not
    empty, or to a moment before the last epoch on record, is answered from the record and never decided anew.
    """

    def __init__(
        self,
        voice: Voice,
        outbox: Outbox,
        keys: Keys,
        *,
        rules: Rules,
        sanity: Callable[[GerminateSeed], Mapping[str, float]],
    ) -> None:
        self.run_id = voice.run_id
        self.backlog = Backlog()
        self.kernels = Prefetch(voice.log, voice.run_id, voice.clock)
        self._voice, self._rules, self._sanity = voice, rules, sanity
        self._log: Log = voice.log
        self._reporting = Reporting(voice)
        self.handover = Handover(voice, self._reporting, rules, outbox, keys)
        self.timeline = Timeline(voice, self._reporting, rules)
        self._doubtful: set[str] = set()
        self._deferred: dict[str, Instant] = {}
        self._missed_epochs: set[int] = set()
        self._skipped_epochs: set[int] = set()
        self._horizon = Instant(0, 0)

    @property
    def events_written(self) -> int:
        """Events that this process has added to the log for this run."""
        return self._voice.events_written

    async def register(self, sites: Sequence[Site]) -> None:
        """Record a run's slots; they belong to nothing until the run starts."""
        for site in sites:
            self.backlog.begin(site.seed_id, 0)
            stream = seed_stream(self.run_id, site.seed_id)
            appended = await self._voice.tell(
                self._rules.seed, stream, RegisterSlot(site=site), "register", actor="kasmina"
            )
            self.backlog.learn(site.seed_id, appended.events if appended else (), {})

    async def start(self, facts: RunFacts, checkpoint: Checkpoint) -> None:
        """Record the run's beginning together with its first checkpoint, so that a run can always be resumed."""
        await self._tell_run(StartRun(facts=facts, checkpoint=checkpoint), "start")

    async def log_identity(self) -> LogIdentity:
        """Return what tells this log from another."""
        return await self._log.store.identity()

    async def history(self, seed_id: str) -> Sequence[Recorded]:
        """Return everything that the log holds of a slot."""
        return await self._log.store.read_stream(seed_stream(self.run_id, seed_id))

    async def resume(self, checkpoint: Checkpoint, attempt: int) -> None:
        """Record that the run goes on from *checkpoint*, and learn what the log holds after it."""
        events = await self._log.store.read_stream(run_stream(self.run_id))
        for recorded in events:
            match recorded.event:
                case ChangeDeferred(command_id=command_id, at=at):
                    self._deferred[command_id] = Instant.of(at)
                case EpochEnded(facts=facts):
                    self._horizon = Instant.of(facts.at)
                case RunRolledBack(at=at):
                    self._horizon = Instant.of(at)
                case EpochsSkipped(first_epoch=first, at=at):
                    self._skipped_epochs.update(range(first, at.epoch + 1))
                    self._horizon = Instant.of(at)
                case _:
                    pass
        self.timeline.begin(events, checkpoint, self._deferred)
        for recorded in await self._log.store.read_stream(policy_stream(self.run_id)):
            if isinstance(recorded.event, DecisionMissed):
                self._missed_epochs.add(recorded.event.at.epoch)
        for row in checkpoint.seeds:
            self.backlog.begin(row.seed_id, row.version)
            await self._learn(row.seed_id)
        await self._tell_run(
            ResumeRun(checkpoint_id=checkpoint.checkpoint_id, at=checkpoint.at, attempt=attempt), f"resume/{attempt}"
        )
        await self._react_to_backlog()

    def repeats(self, at: Moment) -> bool:
        """Whether the log already reaches beyond *at*, so that nothing new can be decided for it."""
        return Instant.of(at) < self._horizon or self.timeline.waits

    def skips(self, epoch: int) -> bool:
        """Whether the log knows of *epoch* only that it was: nothing was decided, and nothing can be recorded of it."""
        return epoch in self._skipped_epochs

    def settled(self, seed_id: str, at: Moment) -> bool:
        """Whether the log is ahead of the model for this seed at *at*: what comes next is on record."""
        return self.repeats(at) or self.backlog.waits(seed_id)

    async def end_epoch(self, facts: EpochFacts, candidates: Sequence[Candidate], judge: "JudgeEpoch") -> Fence:
        """Record the epoch's *facts*, let Tamiyo judge them, and have the seeds decide her commands.

        Nothing returned may touch the model before this has returned: that is the acknowledgement.
        """
        epoch = facts.at.epoch
        await self.handover.drain()
        ended = self.handover.ended(epoch) or await self._tell_run(EndEpoch(facts=facts), f"epoch/{epoch}")
        if ended is None or not isinstance(ended.events[0].event, EpochEnded):
            raise AssertionError("the run's rules answer EndEpoch with EpochEnded")
        cause = ended.events[0]
        recorded = ended.events[0].event.facts
        if self._rules.policy is None or epoch in self._missed_epochs:
            return Fence(recorded, ended.duplicate, ())
        judge.facts.CopyFrom(recorded)
        judge.candidates.extend(candidates)
        judge.observation_id = cause.event_id
        judged = await self._voice.tell(
            self._rules.policy,
            policy_stream(self.run_id),
            judge,
            f"judge/{epoch}",
            causation=cause.event_id,
            actor="tamiyo",
        )
        decisions = [event for event in judged.events if isinstance(event.event, DecisionMade)] if judged else []
        for decision in decisions:
            await self._carry_out(decision)
        made = tuple(recorded.event for recorded in decisions if isinstance(recorded.event, DecisionMade))
        return Fence(recorded, ended.duplicate, made)

    async def _carry_out(self, made: Recorded) -> None:
        decision = made.event
        assert isinstance(decision, DecisionMade)  # noqa: S101
        chosen = decision.WhichOneof("command")
        if chosen is None:
            return
        await self._reporting.react(made)
        command = getattr(decision, chosen)
        await self.change(decision.seed_id, command, decided(made.event_id), causation=made.event_id, actor="tamiyo")

    async def change(
        self, seed_id: str, command: SeedCommand, purpose: str, *, causation: str = "", actor: str = "kasmina"
    ) -> Answer:
        """Ask a seed's rules for *command*; a refusal is recorded too. What was recorded waits in the backlog.

        Raises:
            StoreUnavailable: the outcome is unknown, until `look_again`.
        """
        if self.settled(seed_id, getattr(command, "at", Moment())):
            return await self._answer_on_record(seed_id, purpose)
        stream, refused = seed_stream(self.run_id, seed_id), ""
        known_before = seed_id not in self._doubtful
        self._doubtful.add(seed_id)
        try:
            asked = self._with_sanity(command)
            appended = await self._voice.tell(
                self._rules.seed, stream, asked, purpose, causation=causation, actor=actor
            )
        except SeedRuleBroken as broken:
            refused = str(broken)
            refusal = RefuseSeedCommand(
                at=getattr(command, "at", None), command_type=type(command).__name__, reason=refused
            )
            purpose = f"refusal/{purpose}"
            appended = await self._voice.tell(
                self._rules.seed, stream, refusal, purpose, causation=causation, actor="kasmina"
            )
        events = appended.events if appended else ()
        if events and events[0].version == self.backlog.known(seed_id) + 1:
            self.backlog.learn(seed_id, events, {})
        else:
            await self._learn(seed_id)
        for recorded in events:
            await self._reporting.react(recorded)
        # An append of ours that was acknowledged leaves no room for an earlier one that is still on its way.
        if events or known_before:
            self._doubtful.discard(seed_id)
        return Answer(events, refused)

    def _with_sanity(self, command: SeedCommand) -> SeedCommand:
        if not isinstance(command, GerminateSeed):
            return command
        # A copy: the command may be a part of the decision that the log holds.
        checked = GerminateSeed()
        checked.CopyFrom(command)
        checked.evidence.update(self._sanity(command))
        return checked

    async def _answer_on_record(self, seed_id: str, purpose: str) -> Answer:
        stream = seed_stream(self.run_id, seed_id)
        answers = {self._voice.command_id(stream, name) for name in (purpose, f"refusal/{purpose}")}
        events = tuple(
            recorded for recorded in await self._log.store.read_stream(stream) if recorded.context.command_id in answers
        )
        refusals = [recorded.event.reason for recorded in events if isinstance(recorded.event, SeedCommandRefused)]
        missing = "" if events else "the log is ahead of this moment, and holds no answer to this command"
        return Answer(events, refusals[0] if refusals else missing)

    async def defer(self, change: Change, at: Moment, reason: str) -> None:
        """Record that *change* takes effect at *at*, later than it was decided for."""
        await self._tell_run(
            DeferChange(
                command_id=change.command_id,
                seed_id=change.seed_id,
                reason=reason,
                decided_for=change.decided_for,
                at=at,
            ),
            f"defer/{change.command_id}/{at.step}/{at.epoch}",
        )

    async def look_again(self) -> None:
        """Learn what the log holds of seeds about which a command's outcome is unknown.

        A command that the log does not hold never happened; Tamiyo decides anew. As it may still be on its way, its
        seed stays in doubt until another of its commands is acknowledged.
        """
        await self.timeline.look_again()
        for seed_id in sorted(self._doubtful | self.handover.withdrawn_from()):
            await self._learn(seed_id)
        if self._doubtful:
            await self._react_to_backlog()

    async def _learn(self, seed_id: str) -> None:
        known = self.backlog.known(seed_id)
        events = await self._log.store.read_stream(seed_stream(self.run_id, seed_id), after_version=known)
        self.backlog.learn(seed_id, events, self._deferred)

    async def _react_to_backlog(self) -> None:
        """React to what waits: whoever recorded it may not have come to that. What was done is not done twice."""
        for change in self.backlog.waiting():
            for recorded in change.events:
                await self._reporting.react(recorded)

    async def commit_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Record that *checkpoint*'s parts are durably stored; from now on it is one."""
        await self._tell_run(CommitCheckpoint(checkpoint=checkpoint), f"checkpoint/{checkpoint.at.epoch}")

    async def expire_checkpoints(self, at: Moment, keep: int) -> None:
        """Record that all but the newest *keep* checkpoints have expired; see `Lineage.expiring`."""
        gone = [
            ExpiringCheckpoint(checkpoint_id=one.checkpoint_id, manifest_sha256=one.manifest_sha256, held=one.at)
            for one in self.timeline.lineage.expiring(keep)
        ]
        if not gone:
            return
        appended = await self._tell_run(ExpireCheckpoints(at=at, checkpoints=gone), f"expire/{at.epoch}")
        self.timeline.heed_expiries(appended.events if appended else ())

    async def roll_back(self, command: RollBackRun) -> Rollback:
        """Record that the run goes back; see `Timeline.decide`. What waits in the outbox belongs before it."""
        await self.handover.drain()
        return await self.timeline.decide(command)

    async def carry_out(self, rollback: Rollback, checkpoint: Checkpoint, at: Moment) -> list[Told]:
        """Record what *rollback* means for every slot; it waits in the backlog, for `Backlog.taken`."""
        told = await self.timeline.carry_out(rollback, checkpoint, at)
        for one in told:
            await self._learn(one.seed_id)
            self._doubtful.discard(one.seed_id)
        return told

    async def freeze(self, command: FreezeGrowth) -> int:
        """Record that growth was frozen; return up to where the log was read or written for that."""
        return await self._reached(await self._tell_run(command, f"freeze/{command.raised_at_ns}"))

    async def thaw(self, command: ThawGrowth) -> int:
        """Record that growth goes on; return up to where the log was read or written for that."""
        return await self._reached(await self._tell_run(command, f"thaw/{command.at.step}/{command.at.epoch}"))

    async def _reached(self, appended: Appended | None) -> int:
        """Return the position of what was appended; if it was so already, that of the run's newest event."""
        events = appended.events if appended else await self._log.store.read_stream(run_stream(self.run_id))
        return events[-1].position

    async def evict(self, command: EvictKernels) -> None:
        """Record that kernels are kept at hand no longer."""
        await self._tell_run(command, evicted_by(command))

    async def halt(self, command: HaltRun) -> None:
        """Record that the run is trained no further."""
        await self.handover.drain()
        await self._tell_run(command, halting(command.at))

    def misses(self, epoch: int) -> None:
        """Note that nothing is to be decided upon *epoch*: its missed decision is on its way to the log."""
        self._missed_epochs.add(epoch)

    def holds(self, at: Moment) -> bool:
        """Whether *at* is on record already, as the end of an epoch or before one."""
        return Instant.of(at) <= self._horizon

    async def close_reports(self) -> None:
        """Close what a run that has ended left open because its process died right then; nothing is closed twice."""
        for recorded in await self._log.store.read_stream(run_stream(self.run_id)):
            if isinstance(recorded.event, RunFinished):
                await self._reporting.react(recorded)

    async def _tell_run(self, command: Message, purpose: str) -> Appended | None:
        return await self._voice.tell(RUN, run_stream(self.run_id), command, purpose)
