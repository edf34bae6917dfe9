"""What a recorded decision was made for, found out from the decision: the names that a run's command ids derive from.

A purpose is not recorded, only the id that derives from it. So the purposes that the trainer uses are tried in turn:
the right one is the one that gives the recorded id, and nothing else can.
"""

from collections.abc import Iterator, Mapping, Sequence

from actors.changes import moment_of
from actors.ids import derived_id
from esper.kasmina.rules.seed import Seed
from esper.leyline.v1.policy_pb2 import DecisionMade, DecisionMissed, DecisionWithdrawn
from esper.leyline.v1.run_pb2 import (
    ChangeDeferred,
    CheckpointCommitted,
    EpochEnded,
    EpochsSkipped,
    RunResumed,
    RunStarted,
)
from esper.leyline.v1.seed_pb2 import SlotRegistered
from eventstore.store import Recorded

PHASES = ("ramp", "probation", "failed", "embargo", "reset", "reopen")
# Commands by hand are counted per step; nobody types more than that between two of them.
BY_HAND_AT_MOST = 64


def purpose_of(
    commit: Sequence[Recorded], run_id: str, before: Seed, renamed: Mapping[str, str] | None = None
) -> str | None:
    """Return the purpose of a run's *commit*, or None if it is none that the trainer uses.

    *before* is the seed as it was until then. A purpose may name an event or a command: with *renamed*, from ids to
    ids, it is returned with those names instead.
    """
    first = commit[0]
    for purpose in _candidates(commit, before, {}):
        if derived_id(run_id, str(first.stream), purpose) == first.context.command_id:
            if not renamed:
                return purpose
            return _same_place(commit, before, purpose, renamed)
    return None


def _same_place(commit: Sequence[Recorded], before: Seed, purpose: str, renamed: Mapping[str, str]) -> str:
    pairs = zip(_candidates(commit, before, {}), _candidates(commit, before, renamed), strict=True)
    return next(new for old, new in pairs if old == purpose)


def _candidates(commit: Sequence[Recorded], before: Seed, renamed: Mapping[str, str]) -> Iterator[str]:
    match commit[0].stream.aggregate:
        case "run":
            yield from _of_run(commit[0], renamed)
        case "policy":
            yield from _of_policy(commit[0], renamed)
        case "seed":
            yield from _of_seed(commit, before, renamed)
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
        case ChangeDeferred(command_id=command_id, at=at):
            yield f"defer/{renamed.get(command_id, command_id)}/{at.step}/{at.epoch}"
        case RunResumed(attempt=attempt):
            yield f"resume/{attempt}"
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
        case _:
            return


def _of_seed(commit: Sequence[Recorded], before: Seed, renamed: Mapping[str, str]) -> Iterator[str]:
    if isinstance(commit[0].event, SlotRegistered):
        yield "register"
        return
    cause, at = commit[0].context.causation_id, moment_of(commit)
    cause = renamed.get(cause, cause)
    yield f"withdrawal/{cause}"
    phase = f"g{before.generation}/{before.since_step}"
    asked = [f"decision/{cause}", f"kernel/g{before.generation}", *(f"{name}/{phase}" for name in PHASES)]
    asked.append(f"reopen/{phase}/{at.epoch}")
    asked += [f"hand/{at.step}/{at.epoch}/{count}" for count in range(1, BY_HAND_AT_MOST + 1)]
    for purpose in asked:
        yield purpose
        yield f"refusal/{purpose}"
