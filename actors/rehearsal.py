"""A run's record as training that is executed again is held against it, and a log in which to execute it."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any, cast

import msgspec
from google.protobuf.message import Message

from actors.relocation import Relocation
from actors.streams import kernel_stream, policy_stream, run_stream, seed_stream
from esper.leyline.canonical import canonical_bytes
from esper.leyline.v1.run_pb2 import (
    CheckpointCommitted,
    EpochEnded,
    EpochFacts,
    RunBranched,
    RunFinished,
    RunResumed,
    RunRolledBack,
    RunStarted,
)
from esper.leyline.v1.seed_pb2 import SeedGerminated
from esper.tolaria.rules.run import RUN
from eventstore.memory import MemoryStore
from eventstore.replay import differences
from eventstore.store import EventStore, Recorded

# The environment of a script that is to train a run again: which run, and where to write what came of it.
RUN_VARIABLE, RESULT_VARIABLE = "ESPER_RETRAIN", "ESPER_RETRAIN_RESULT"
# What an epoch's facts tell of the clock and of the log, and not of the training.
NOT_TRAINED = ("step_seconds", "overhead_seconds", "outbox_depth")
LEFT_OUT = (RunFinished, RunResumed, RunBranched)


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """The first event on record that training found otherwise."""

    position: int
    event: str
    epoch: int
    what: str
    recorded: str
    found: str


class Retrained(msgspec.Struct, frozen=True, kw_only=True):
    """What came of training a run again; each number is of what was compared, of how many there are on record."""

    run_id: str
    epochs: int = 0
    epochs_on_record: int = 0
    digests: int = 0
    digests_on_record: int = 0
    difference: Difference | None = None

    @property
    def identical(self) -> bool:
        """Whether everything on record was compared, and nothing differed."""
        compared = (self.epochs, self.digests) == (self.epochs_on_record, self.digests_on_record)
        return self.difference is None and compared

    def write(self, path: Path) -> None:
        """Write this to *path* for the program that started the script."""
        path.write_bytes(msgspec.json.encode(self))


class Record(msgspec.Struct, frozen=True):
    """What the log holds of a run: its commits in order, and by epoch the facts and the checkpoints after the first.

    `gone_back_to` names the checkpoints that the run was rolled back to.
    """

    run_id: str
    commits: tuple[tuple[Recorded, ...], ...]
    epochs: Mapping[int, Recorded]
    checkpoints: Mapping[int, Recorded]
    end: Recorded | None
    gone_back_to: frozenset[str]

    def nothing_compared(self) -> Retrained:
        """Return the result before the first epoch."""
        digests = len(self.checkpoints) + (self.end is not None)
        return Retrained(run_id=self.run_id, epochs_on_record=len(self.epochs), digests_on_record=digests)


async def read_record(store: EventStore, run_id: str) -> Record:
    """Read everything that the log holds of run *run_id*, and the kernels that its seeds were grown from."""
    run = await store.read_stream(run_stream(run_id))
    events = [*run, *await store.read_stream(policy_stream(run_id))]
    facts = next((one.event.facts for one in run if isinstance(one.event, RunStarted)), None)
    for site in facts.sites if facts else ():
        events += await store.read_stream(seed_stream(run_id, site.seed_id))
    keys = {one.event.kernel_key for one in events if isinstance(one.event, SeedGerminated)}
    for key in sorted(keys):
        events += await store.read_stream(kernel_stream(key))
    ordered = sorted(events, key=attrgetter("position", "index"))
    checkpoints = [one for one in run if isinstance(one.event, CheckpointCommitted)]
    return Record(
        run_id=run_id,
        commits=tuple(tuple(commit) for _, commit in groupby(ordered, key=attrgetter("position"))),
        epochs={_facts(one).at.epoch: one for one in run if isinstance(one.event, EpochEnded)},
        checkpoints={cast("CheckpointCommitted", one.event).checkpoint.at.epoch: one for one in checkpoints[1:]},
        end=next((one for one in run if isinstance(one.event, RunFinished)), None),
        gone_back_to=frozenset(one.event.checkpoint_id for one in run if isinstance(one.event, RunRolledBack)),
    )


async def rehearse(record: Record, store: MemoryStore) -> Mapping[int, int]:
    """Write *record* into *store* as the run stood before its first step: all decided, and nothing done yet.

    A session that goes on from its first checkpoint trains all of it. Returned are the positions of the checkpoints
    in *store*, by epoch.
    """
    identity, relocation = await store.identity(), Relocation()
    halted = RUN.fold(cast("Any", one.event) for commit in record.commits for one in commit if _of_run(one)).halted
    for commit in record.commits:
        stream, context = commit[0].stream, commit[0].context
        if isinstance(commit[0].event, LEFT_OUT) or commit[0].event == halted:
            continue
        events = [_copy(one.event) for one in commit]
        for event in events:
            if isinstance(event, CheckpointCommitted):
                event.checkpoint.log_created_ns = identity.created_ns
                event.checkpoint.log_first_position, event.checkpoint.log_last_position = 1, 0
        await relocation.adjust(events, store)
        known = await store.read_stream(stream)
        appended = await store.append(stream, events, expected=known[-1].version if known else 0, context=context)
        relocation.note(appended.events)
    return relocation.epochs


def _of_run(recorded: Recorded) -> bool:
    return recorded.stream.aggregate == "run"


def difference(recorded: Recorded, what: str, then: object, now: object) -> Difference:
    """Return that *recorded* has *then* where training found *now*."""
    event = recorded.event
    at = event.facts.at if isinstance(event, EpochEnded) else None
    at = event.checkpoint.at if isinstance(event, CheckpointCommitted) else at
    at = event.summary.at if isinstance(event, RunFinished) else at
    return Difference(
        position=recorded.position,
        event=recorded.event_type.rpartition(".")[2],
        epoch=at.epoch if at else 0,
        what=what,
        recorded=str(then),
        found=str(now),
    )


def epoch_difference(recorded: Recorded, found: EpochFacts) -> Difference | None:
    """Return the first of an epoch's facts that training found otherwise, or None."""
    then, now = _trained(_facts(recorded)), _trained(found)
    if canonical_bytes(then) == canonical_bytes(now):
        return None
    differing: Sequence[Any] = [one for one in differences(then, now) if repr(one.before) != repr(one.after)]
    if not differing:
        return difference(recorded, "the facts", then, now)
    return difference(recorded, differing[0].path, differing[0].before, differing[0].after)


def _facts(recorded: Recorded) -> EpochFacts:
    return cast("EpochEnded", recorded.event).facts


def _trained(facts: EpochFacts) -> EpochFacts:
    copy = _copy(facts)
    for name in NOT_TRAINED:
        copy.ClearField(name)
    return copy


def _copy(message: Any) -> Any:
    copy: Message = type(message)()
    copy.CopyFrom(message)
    return copy
