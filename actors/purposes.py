"""What a recorded decision was made for, found out from the decision: the names that a run's command ids derive from.

A purpose is not recorded, only the id that derives from it. So the purposes that the trainer uses are tried in turn:
the right one is the one that gives the recorded id, and nothing else can.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from actors.changes import moment_of
from actors.ids import derived_id, spoken_in
from esper.kasmina.rules.seed import Seed
from esper.leyline.v1.policy_pb2 import DecisionMade, DecisionMissed, DecisionWithdrawn, MemoryRebased
from esper.leyline.v1.run_pb2 import (
    ChangeDeferred,
    CheckpointCommitted,
    CheckpointExpired,
    EpochEnded,
    EpochsSkipped,
    EvictKernels,
    GrowthFrozen,
    GrowthThawed,
    HaltAcknowledged,
    KernelsEvicted,
    RollbackCompleted,
    RunHalted,
    RunResumed,
    RunRolledBack,
    RunStarted,
)
from esper.leyline.v1.seed_pb2 import SlotRegistered
from esper.leyline.v1.site_pb2 import Moment
from eventstore.store import Recorded

PHASES = ("ramp", "probation", "failed", "embargo", "reset", "reopen")
# Commands by hand are counted per step; nobody types more than that between two of them.
BY_HAND_AT_MOST = 64


class Purpose(NamedTuple):
    """What a command was for, and the timeline in which it was said."""

    timeline: int
    name: str

    def __str__(self) -> str:
        """Return the name from which the command's id derives."""
        return spoken_in(self.timeline, self.name)


def evicted_by(told: EvictKernels | KernelsEvicted) -> str:
    """Return the purpose of letting go of kernels, each of which goes once at a moment."""
    return f"evict/{told.at.step}/{told.at.epoch}/{told.kernel_ids[0]}"


def purpose_of(
    commit: Sequence[Recorded], run_id: str, before: Seed, *, timelines: int, renamed: Mapping[str, str] | None = None
) -> Purpose | None:
    """Return the purpose of a run's *commit*, or None if it is none that the trainer uses.

    *before* is the seed as it was until then, *timelines* how often the run had been rolled back: a process that
    resumed it comes through the older ones again. A purpose may name an event or a command: with *renamed*, from ids
    to ids, it is returned with those names instead.
    """
    first = commit[0]
    for name in _candidates(commit, before, timelines, {}):
        for timeline in range(timelines, -1, -1):
            purpose = Purpose(timeline, name)
            if derived_id(run_id, str(first.stream), str(purpose)) == first.context.command_id:
                return purpose._replace(name=_same_place(commit, before, purpose, timelines, renamed or {}))
    return None


def _same_place(
    commit: Sequence[Recorded], before: Seed, purpose: Purpose, timelines: int, renamed: Mapping[str, str]
) -> str:
    old, new = _candidates(commit, before, timelines, {}), _candidates(commit, before, timelines, renamed)
    return next(now for then, now in zip(old, new, strict=True) if then == purpose.name)


def halting(at: Moment) -> str:
    """Return the purpose of the command that halts a run at *at*."""
    return f"halt/{at.step}/{at.epoch}"


def _candidates(commit: Sequence[Recorded], before: Seed, timelines: int, renamed: Mapping[str, str]) -> Iterator[str]:
    match commit[0].stream.aggregate:
        case "run":
            yield from _of_run(commit[0], renamed)
        case "policy":
            yield from _of_policy(commit[0], renamed)
        case "seed":
            yield from _of_seed(commit, before, timelines, renamed)
        case _:
            return


def _of_run(recorded: Recorded, renamed: Mapping[str, str]) -> Iterator[str]:
    match recorded.event:
        case RunStarted():
            yield "start"
        case EpochEnded(facts=facts):
            yield f"epoch/{facts.at.epoch}"
        case EpochsSkipped(first_epoch=first, at=at):
            # What was on record by then is left out of the event, but not out of the name.
            yield from (f"skip/{since}/{at.epoch}" for since in range(first, 0, -1))
        case CheckpointCommitted(checkpoint=checkpoint):
            yield f"checkpoint/{checkpoint.at.epoch}"
        case CheckpointExpired(at=at):
            yield f"expire/{at.epoch}"
        case ChangeDeferred(command_id=command_id, at=at):
            yield f"defer/{renamed.get(command_id, command_id)}/{at.step}/{at.epoch}"
        case RunResumed(attempt=attempt):
            yield f"resume/{attempt}"
        case RunRolledBack(timeline=timeline):
            yield f"rollback/{timeline}"
        case RollbackCompleted(timeline=timeline):
            yield f"completed/{timeline}"
        case GrowthFrozen(raised_at_ns=raised_at_ns):
            yield f"freeze/{raised_at_ns}"
        case RunHalted(at=at):
            yield halting(at)
        case HaltAcknowledged(at=at):
            yield f"acknowledged/{halting(at)}"
        case GrowthThawed(raised_at_ns=raised_at_ns, at=at):
            yield f"thaw/at/{raised_at_ns}" if raised_at_ns else f"thaw/{at.step}/{at.epoch}"
        case KernelsEvicted() as evicted:
            yield evicted_by(evicted)
        case _:
            return


def _of_policy(recorded: Recorded, renamed: Mapping[str, str]) -> Iterator[str]:
    match recorded.event:
        case DecisionMade(at=at):
            yield f"judge/{at.epoch}"
        case DecisionMissed(at=at):
            yield f"missed/{at.epoch}"
        case DecisionWithdrawn(decision_id=decision_id):
            yield f"withdraw/{renamed.get(decision_id, decision_id)}"
        case MemoryRebased(timeline=timeline):
            yield f"rollback/{timeline}"
        case _:
            return


def _of_seed(commit: Sequence[Recorded], before: Seed, timelines: int, renamed: Mapping[str, str]) -> Iterator[str]:
    if isinstance(commit[0].event, SlotRegistered):
        yield "register"
        return
    cause, at = commit[0].context.causation_id, moment_of(commit)
    cause = renamed.get(cause, cause)
    yield f"withdrawal/{cause}"
    yield from (f"rollback/{timeline}" for timeline in range(1, timelines + 1))
    phase = f"g{before.generation}/{before.since_step}"
    asked = [f"decision/{cause}", f"kernel/g{before.generation}", *(f"{name}/{phase}" for name in PHASES)]
    asked.append(f"reopen/{phase}/{at.epoch}")
    asked += [f"hand/{at.step}/{at.epoch}/{count}" for count in range(1, BY_HAND_AT_MOST + 1)]
    for purpose in asked:
        yield purpose
        yield f"refusal/{purpose}"
