"""What may happen to a training run, and what each happening means."""

from typing import TypeAlias, assert_never

import msgspec
from msgspec.structs import replace

from esper.leyline.decider import Decider, RuleBroken
from esper.leyline.v1.enums_pb2 import RollbackMode
from esper.leyline.v1.run_pb2 import (
    AcknowledgeHalt,
    ChangeDeferred,
    Checkpoint,
    CheckpointCommitted,
    CheckpointExpired,
    CommitCheckpoint,
    CompleteFork,
    CompleteRollback,
    DeferChange,
    EndEpoch,
    EpochEnded,
    EpochFacts,
    EpochsSkipped,
    EvictKernels,
    ExpireCheckpoints,
    FinishRun,
    FreezeGrowth,
    GrowthFrozen,
    GrowthThawed,
    HaltAcknowledged,
    HaltRun,
    KernelsEvicted,
    RecordBranch,
    ResumeRun,
    RollbackCompleted,
    RollBackRun,
    RunBranched,
    RunFacts,
    RunFinished,
    RunForked,
    RunHalted,
    RunResumed,
    RunRolledBack,
    RunStarted,
    RunSummary,
    SkipEpochs,
    StartRun,
    ThawGrowth,
)
from esper.leyline.v1.site_pb2 import Moment

RunCommand: TypeAlias = (
    StartRun
    | EndEpoch
    | SkipEpochs
    | CommitCheckpoint
    | ExpireCheckpoints
    | DeferChange
    | ResumeRun
    | CompleteFork
    | RecordBranch
    | RollBackRun
    | CompleteRollback
    | FreezeGrowth
    | ThawGrowth
    | EvictKernels
    | HaltRun
    | AcknowledgeHalt
    | FinishRun
)
RunEvent: TypeAlias = (
    RunStarted
    | EpochEnded
    | EpochsSkipped
    | CheckpointCommitted
    | CheckpointExpired
    | ChangeDeferred
    | RunResumed
    | RunForked
    | RunBranched
    | RunRolledBack
    | RollbackCompleted
    | GrowthFrozen
    | GrowthThawed
    | KernelsEvicted
    | RunHalted
    | HaltAcknowledged
    | RunFinished
)


class Run(msgspec.Struct, frozen=True):
    """A training run, folded from its stream.

    `epoch` and `step` are the furthest that any attempt has recorded: a resumed run repeats what was recorded after
    its checkpoint under the same command ids, and so decides anew only from there on. A rollback does not turn these
    clocks back; it begins a new `timeline`, in which `last_epoch` is what it was. `blessed` names the checkpoints that
    a rollback may go back to.
    """

    facts: RunFacts | None = None
    attempt: int = 0
    epoch: int = 0
    step: int = 0
    last_epoch: EpochFacts | None = None
    last_checkpoint: Checkpoint | None = None
    checkpoints: frozenset[str] = frozenset()
    deferred: int = 0
    skipped: int = 0
    summary: RunSummary | None = None
    forked: bool = False
    branches: tuple[str, ...] = ()
    timeline: int = 0
    blessed: frozenset[str] = frozenset()
    # Why nothing may grow; empty while it may.
    frozen: str = ""
    # Why it is trained no further, until that is acknowledged.
    halted: RunHalted | None = None

    @property
    def started(self) -> bool:
        """Whether the run has begun."""
        return self.facts is not None

    @property
    def finished(self) -> bool:
        """Whether the run has come to its end. An interrupted run has not: it can be resumed."""
        return self.summary is not None

    @property
    def copying(self) -> bool:
        """Whether this is a fork whose history has not been taken over as a whole."""
        return self.facts is not None and self.facts.HasField("origin") and not self.forked

    @property
    def score(self) -> float | None:
        """The newest epoch's score; None if it was not measured."""
        return self.last_epoch.score if self.last_epoch is not None and self.last_epoch.HasField("score") else None


class RunRuleBroken(RuleBroken):
    """The run's state forbids the command; nothing happened."""

    def __init__(self, command: RunCommand, why: str) -> None:
        self.command = command
        super().__init__(f"cannot {type(command).__name__}: {why}")


def decide(run: Run, command: RunCommand) -> list[RunEvent]:
    """Answer *command* with the events it causes.

    Raises:
        RunRuleBroken: out of order, backwards in steps, or after the end; the message says which.
    """
    _refuse_out_of_place(run, command)
    match command:
        case StartRun():
            return [RunStarted(facts=command.facts), CheckpointCommitted(checkpoint=command.checkpoint)]
        case EndEpoch(facts=facts):
            _refuse_backwards(run, command, facts.at)
            if facts.at.epoch != run.epoch + 1:
                raise RunRuleBroken(command, f"epoch {facts.at.epoch} does not follow epoch {run.epoch}")
            return [EpochEnded(facts=facts)]
        case SkipEpochs():
            return _skipped(run, command)
        case CommitCheckpoint(checkpoint=checkpoint):
            _refuse_backwards(run, command, checkpoint.at)
            _refuse_other_timeline(run, command, checkpoint.timeline)
            return [CheckpointCommitted(checkpoint=checkpoint)]
        case ExpireCheckpoints():
            return _expired(run, command)
        case DeferChange():
            return [_deferred(command)]
        case ResumeRun():
            return [_resumed(run, command)]
        case CompleteFork(origin=origin):
            return [] if run.forked else [RunForked(origin=origin)]
        case RecordBranch(run_id=run_id):
            branched = RunBranched(run_id=run_id, position=command.position, checkpoint_id=command.checkpoint_id)
            return [] if run_id in run.branches else [branched]
        case RollBackRun():
            return [_rolled_back(run, command)]
        case CompleteRollback():
            _refuse_other_timeline(run, command, command.timeline)
            return [
                RollbackCompleted(at=command.at, timeline=command.timeline, tier=command.tier, seconds=command.seconds)
            ]
        case FreezeGrowth() | ThawGrowth():
            return _froze(run, command)
        case EvictKernels():
            return [_evicted(command)]
        case HaltRun() | AcknowledgeHalt():
            return _halted(run, command)
        case FinishRun(summary=summary):
            _refuse_backwards(run, command, summary.at)
            return [RunFinished(summary=summary)]
        case _:
            assert_never(command)


def _refuse_out_of_place(run: Run, command: RunCommand) -> None:
    """A run starts once; nothing happens before its start, before a fork is complete, or after its end.

    That others were forked from it may be told to a run at any time.
    """
    match command:
        case StartRun() if run.started:
            raise RunRuleBroken(command, "this run has started already")
        case StartRun():
            return
        case _ if not run.started:
            raise RunRuleBroken(command, "this run has not started")
        case RecordBranch():
            return
        case CompleteFork() if not run.facts or not run.facts.HasField("origin"):
            raise RunRuleBroken(command, "this run was not forked from another")
        case _ if run.copying and not isinstance(command, CompleteFork):
            raise RunRuleBroken(command, "the fork was interrupted before it held all of its history: fork again")
        case _ if run.finished:
            raise RunRuleBroken(command, "this run is finished")
        case ResumeRun() | EndEpoch() | RollBackRun() if run.halted:
            raise RunRuleBroken(command, f"this run is halted, and nobody has acknowledged it: {run.halted.reason}")
        case _:
            return


def _refuse_backwards(run: Run, command: RunCommand, at: Moment) -> None:
    if at.step < run.step:
        raise RunRuleBroken(command, f"step {at.step} lies before step {run.step}, which is recorded")


def _deferred(command: DeferChange) -> ChangeDeferred:
    if command.at.step < command.decided_for.step:
        raise RunRuleBroken(command, f"step {command.at.step} is earlier than step {command.decided_for.step}")
    return ChangeDeferred(
        command_id=command.command_id,
        seed_id=command.seed_id,
        reason=command.reason,
        decided_for=command.decided_for,
        at=command.at,
    )


def _skipped(run: Run, command: SkipEpochs) -> list[RunEvent]:
    """Only what is not on record yet is skipped: an earlier, shorter report of the same gap may have come through."""
    first = max(command.first_epoch, run.epoch + 1)
    if command.at.epoch < first:
        return []
    _refuse_backwards(run, command, command.at)
    if first != run.epoch + 1:
        raise RunRuleBroken(command, f"epoch {first} does not follow epoch {run.epoch}")
    return [EpochsSkipped(first_epoch=first, at=command.at, reason=command.reason)]


def _resumed(run: Run, command: ResumeRun) -> RunResumed:
    if command.checkpoint_id not in run.checkpoints:
        raise RunRuleBroken(command, f"this run has no checkpoint {command.checkpoint_id!r}")
    if command.attempt != run.attempt + 1:
        raise RunRuleBroken(command, f"attempt {command.attempt} does not follow attempt {run.attempt}")
    return RunResumed(checkpoint_id=command.checkpoint_id, at=command.at, attempt=command.attempt)


def _refuse_other_timeline(run: Run, command: RunCommand, timeline: int) -> None:
    if timeline != run.timeline:
        raise RunRuleBroken(
            command, f"it belongs to timeline {timeline}, and the run was rolled back to begin timeline {run.timeline}"
        )


def _rolled_back(run: Run, command: RollBackRun) -> RunRolledBack:
    _refuse_other_timeline(run, command, command.timeline - 1)
    _refuse_backwards(run, command, command.at)
    if command.checkpoint_id not in run.blessed:
        raise RunRuleBroken(command, f"this run has no blessed checkpoint {command.checkpoint_id!r}")
    if command.mode == RollbackMode.ROLLBACK_MODE_UNSPECIFIED:
        raise RunRuleBroken(command, "whether to restore or to stabilise is not said")
    return RunRolledBack(
        at=command.at,
        checkpoint_id=command.checkpoint_id,
        to=command.to,
        mode=command.mode,
        tier=command.tier,
        reason=command.reason,
        timeline=command.timeline,
        abandoned_from=command.abandoned_from,
        abandoned_until=command.abandoned_until,
        last_epoch=command.last_epoch if command.HasField("last_epoch") else None,
    )


def _expired(run: Run, command: ExpireCheckpoints) -> list[RunEvent]:
    """What has expired already is not told again."""
    newest = run.last_checkpoint
    if newest is not None and newest.checkpoint_id in {each.checkpoint_id for each in command.checkpoints}:
        raise RunRuleBroken(command, "its newest checkpoint is what the run is resumed from")
    return [
        CheckpointExpired(
            at=command.at,
            checkpoint_id=each.checkpoint_id,
            manifest_sha256=each.manifest_sha256,
            held=each.held,
        )
        for each in command.checkpoints
        if each.checkpoint_id in run.checkpoints
    ]


def _evicted(command: EvictKernels) -> KernelsEvicted:
    return KernelsEvicted(
        at=command.at,
        kernel_ids=command.kernel_ids,
        bytes=command.bytes,
        reason=command.reason,
        kept_bytes=command.kept_bytes,
    )


def _froze(run: Run, command: FreezeGrowth | ThawGrowth) -> list[RunEvent]:
    match command:
        case FreezeGrowth() if not run.frozen:
            return [
                GrowthFrozen(at=command.at, reason=command.reason, raised_at_ns=command.raised_at_ns, late=command.late)
            ]
        case ThawGrowth() if run.frozen:
            return [GrowthThawed(at=command.at, reason=command.reason, raised_at_ns=command.raised_at_ns)]
        case _:
            return []


def _halted(run: Run, command: HaltRun | AcknowledgeHalt) -> list[RunEvent]:
    match command:
        case HaltRun() if not run.halted:
            _refuse_other_timeline(run, command, command.timeline)
            return [RunHalted(at=command.at, reason=command.reason, timeline=command.timeline)]
        case AcknowledgeHalt(reason=reason) if run.halted:
            return [HaltAcknowledged(reason=reason, at=run.halted.at, timeline=run.halted.timeline)]
        case _:
            return []


def evolve(run: Run, event: RunEvent) -> Run:
    """Fold one recorded fact into *run*. Total: history is never refused."""
    match event:
        case RunStarted():
            return replace(run, facts=event.facts, attempt=1)
        case EpochEnded(facts=facts):
            return replace(_reached(run, facts.at), epoch=facts.at.epoch, last_epoch=facts)
        case EpochsSkipped(at=at):
            return replace(_reached(run, at), epoch=at.epoch, skipped=run.skipped + 1 + at.epoch - event.first_epoch)
        case CheckpointCommitted(checkpoint=checkpoint):
            known = run.checkpoints | {checkpoint.checkpoint_id}
            blessed = run.blessed | {checkpoint.checkpoint_id} if checkpoint.blessed else run.blessed
            return replace(_reached(run, checkpoint.at), last_checkpoint=checkpoint, checkpoints=known, blessed=blessed)
        case CheckpointExpired(checkpoint_id=gone):
            return replace(run, blessed=run.blessed - {gone}, checkpoints=run.checkpoints - {gone})
        case ChangeDeferred():
            return replace(run, deferred=run.deferred + 1)
        case RunResumed():
            return replace(run, attempt=event.attempt)
        case RunForked():
            return replace(run, forked=True)
        case RunBranched(run_id=run_id):
            return replace(run, branches=(*run.branches, run_id))
        case RunRolledBack():
            last_epoch = event.last_epoch if event.HasField("last_epoch") else None
            return replace(_reached(run, event.at), timeline=event.timeline, last_epoch=last_epoch)
        case RollbackCompleted() | KernelsEvicted():
            return run
        case GrowthFrozen(reason=reason):
            return replace(run, frozen=reason)
        case GrowthThawed():
            return replace(run, frozen="")
        case RunHalted(at=at):
            return replace(_reached(run, at), halted=event)
        case HaltAcknowledged():
            return replace(run, halted=None)
        case RunFinished(summary=summary):
            return replace(_reached(run, summary.at), summary=summary)
        case _:
            assert_never(event)


def _reached(run: Run, at: Moment) -> Run:
    return replace(run, step=max(run.step, at.step))


RUN = Decider(name="run", initial=Run(), decide=decide, evolve=evolve)
