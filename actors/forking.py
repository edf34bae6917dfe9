"""A new run that holds another run's history up to a position, and goes on from there by itself.

Every decision of the old run is written again, in the order of the log, under the ids that it has in the new one. So
the new run goes on as one that was killed at that position is resumed: it repeats what is on record before it is free.
"""

from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter
from random import SystemRandom
from typing import Any, NamedTuple, cast

import msgspec
from google.protobuf.message import Message

from actors.clock import Clock
from actors.expiry import why_expired
from actors.ids import derived_id, new_id
from actors.place import Log
from actors.purposes import Purpose, purpose_of
from actors.relocation import Relocation
from actors.reporting import Reporting
from actors.streams import policy_stream, run_stream, seed_id_of, seed_stream
from actors.voice import Voice
from esper.kasmina.rules.seed import SEED, Seed
from esper.leyline.v1.policy_pb2 import DecisionMade, DecisionWithdrawn
from esper.leyline.v1.run_pb2 import (
    ChangeDeferred,
    Checkpoint,
    CheckpointCommitted,
    CheckpointExpired,
    CompleteFork,
    RecordBranch,
    RunBranched,
    RunFacts,
    RunFinished,
    RunForked,
    RunOrigin,
    RunRolledBack,
    RunStarted,
)
from esper.tolaria.rules.run import RUN
from eventstore.commit import commit_id, event_id
from eventstore.store import Context, Recorded, StreamName

# A fork has lineage and an end of its own.
LEFT_BEHIND = (RunFinished, RunForked, RunBranched)


class ForkRefused(Exception):
    """A run cannot be forked there; nothing was written."""

    def __init__(self, run_id: str, position: int, why: str) -> None:
        self.run_id, self.position = run_id, position
        super().__init__(f"run {run_id[:12]} cannot be forked at position {position}: {why}")


class Forked(msgspec.Struct, frozen=True, kw_only=True):
    """A fork: its own id, whose past it has up to which position, and the checkpoint from which it goes on."""

    run_id: str
    parent: str
    position: int
    epoch: int
    step: int
    commits: int


class Past(msgspec.Struct, frozen=True):
    """What a fork takes over: commits in the order of the log, one per decision, and the checkpoint to go on from.

    `free_from` is the position of that checkpoint: what was decided later is repeated under its own name.
    """

    run_id: str
    position: int
    facts: RunFacts
    commits: tuple[tuple[Recorded, ...], ...]
    checkpoint: Checkpoint
    free_from: int


async def read_past(log: Log, run_id: str, position: int | None) -> Past:
    """Read what a fork of *run_id* at *position* (default: now) takes over.

    Raises:
        ForkRefused: the run had no checkpoint then.
    """
    until = (await log.store.identity()).last_position if position is None else position
    run = await log.store.read_stream(run_stream(run_id))
    started = next((one for one in run if isinstance(one.event, RunStarted) and one.position <= until), None)
    if started is None:
        began = f"it began at position {run[0].position}" if run else "there is no such run"
        raise ForkRefused(run_id, until, began)
    facts = cast("RunStarted", started.event).facts
    if RUN.fold(cast("Any", one.event) for one in run).copying:
        raise ForkRefused(run_id, until, "it is itself a fork that was interrupted: fork the run that it came from")
    events = [*run, *await log.store.read_stream(policy_stream(run_id))]
    for site in facts.sites:
        events += await log.store.read_stream(seed_stream(run_id, site.seed_id))
    taken = sorted((one for one in events if one.position <= until), key=attrgetter("position", "index"))
    # What has expired since is no more to be had by the fork either.
    taken += [one for one in run if one.position > until and isinstance(one.event, CheckpointExpired)]
    taken = [one for one in taken if not isinstance(one.event, LEFT_BEHIND)]
    folded = RUN.fold(cast("Any", one.event) for one in taken if one.stream.aggregate == "run")
    assert folded.last_checkpoint is not None  # noqa: S101 - a run starts with one
    if gone := why_expired(run, folded.last_checkpoint.checkpoint_id):
        raise ForkRefused(run_id, until, gone)
    committed = [
        one.position
        for one in taken
        if isinstance(one.event, CheckpointCommitted)
        and one.event.checkpoint.checkpoint_id == folded.last_checkpoint.checkpoint_id
    ]
    commits = tuple(tuple(commit) for _, commit in groupby(taken, key=attrgetter("position")))
    return Past(run_id, until, facts, commits, folded.last_checkpoint, committed[0])


async def fork(log: Log, past: Past, facts: RunFacts, clock: Clock) -> Forked:
    """Write *past* again as a new run that began with *facts*, and tell both runs of each other.

    Raises:
        ForkRefused: a decision that the fork would repeat is of a kind that this program does not know.
        StoreUnavailable: the fork is not complete and will never be resumed; fork again.
    """
    voice = Voice(log, new_id(clock, SystemRandom()), clock)
    origin = RunOrigin(
        run_id=past.run_id,
        position=past.position,
        checkpoint_id=past.checkpoint.checkpoint_id,
        at=past.checkpoint.at,
        settings_json=facts.origin.settings_json or past.facts.settings_json,
    )
    facts.origin.CopyFrom(origin)
    transcript = Transcript(past, facts, voice.run_id).written()
    await _write(transcript, voice)
    completed = await voice.tell(RUN, run_stream(voice.run_id), CompleteFork(origin=origin), "fork")
    branch = RecordBranch(run_id=voice.run_id, position=past.position, checkpoint_id=origin.checkpoint_id)
    parent = Voice(log, past.run_id, clock)
    cause = completed.events[0].event_id if completed else ""
    await parent.tell(RUN, run_stream(past.run_id), branch, f"branch/{voice.run_id}", causation=cause)
    return Forked(
        run_id=voice.run_id,
        parent=past.run_id,
        position=past.position,
        epoch=past.checkpoint.at.epoch,
        step=past.checkpoint.at.step,
        commits=len(transcript),
    )


class Line(NamedTuple):
    """One commit of a transcript, said in *timeline*; when it is written, it is stamped with the time."""

    timeline: int
    stream: StreamName
    events: list[Message]
    expected: int
    context: Context


async def _write(transcript: Sequence[Line], voice: Voice) -> None:
    reporting, relocation, store = Reporting(voice), Relocation(), voice.log.store
    for line in transcript:
        await relocation.adjust(line.events, store)
        stamped = msgspec.structs.replace(line.context, recorded_at_ns=voice.clock.now_ns())
        appended = await store.append(line.stream, line.events, expected=line.expected, context=stamped)
        relocation.note(appended.events)
        # A report names the command that it is about, as it is called in the timeline in which that was given.
        voice.timeline = line.timeline
        for recorded in appended.events:
            await reporting.react(recorded)
    voice.timeline = 0


class Transcript:
    """One run's past in the words of another: the same events in the same order, under the other run's names."""

    def __init__(self, past: Past, facts: RunFacts, run_id: str) -> None:
        self._past, self._facts, self._run_id = past, facts, run_id
        self._renamed: dict[str, str] = {}
        self._seeds: dict[str, Seed] = {}
        self._versions: dict[StreamName, int] = {}
        self._timelines = 0

    def written(self) -> list[Line]:
        """Return every commit in the other run's words.

        Raises:
            ForkRefused: a decision after the checkpoint has no name that this program knows.
        """
        return [self._commit(commit) for commit in self._past.commits]

    def _commit(self, commit: Sequence[Recorded]) -> Line:
        first = commit[0]
        stream, context = self._stream(first.stream), first.context
        purpose = self._purpose(commit)
        command_id = derived_id(self._run_id, str(stream), str(purpose or f"copy/{context.command_id}"))
        self._renamed[context.command_id] = command_id
        for recorded in commit:
            self._timelines += isinstance(recorded.event, RunRolledBack)
            self._renamed[recorded.event_id] = event_id(commit_id(stream, command_id), recorded.index)
            if first.stream.aggregate == "seed":
                self._seeds[first.stream.aggregate_id] = SEED.evolve(
                    self._seed(first.stream), cast("Any", recorded.event)
                )
        expected = self._versions.get(stream, 0)
        self._versions[stream] = expected + len(commit)
        cause = self._renamed.get(context.causation_id, context.causation_id)
        told = msgspec.structs.replace(
            context,
            command_id=command_id,
            causation_id=cause,
            correlation_id=self._run_id,
            run_id=self._run_id,
            traceparent="",
        )
        timeline = purpose.timeline if purpose else 0
        return Line(timeline, stream, [self._event(recorded.event) for recorded in commit], expected, told)

    def _stream(self, stream: StreamName) -> StreamName:
        if stream.aggregate == "seed":
            return seed_stream(self._run_id, seed_id_of(stream))
        return StreamName(stream.aggregate, self._run_id)

    def _seed(self, stream: StreamName) -> Seed:
        return self._seeds.get(stream.aggregate_id, SEED.initial)

    def _purpose(self, commit: Sequence[Recorded]) -> Purpose | None:
        first = commit[0]
        purpose = purpose_of(
            commit, self._past.run_id, self._seed(first.stream), timelines=self._timelines, renamed=self._renamed
        )
        if purpose is None and first.position > self._past.free_from:
            kind = first.event_type.rpartition(".")[2]
            why = (
                f"position {first.position} ({kind}) was recorded in a way that this version cannot repeat; "
                f"fork at position {self._past.free_from}, its last checkpoint before that"
            )
            raise ForkRefused(self._past.run_id, self._past.position, why)
        return purpose

    def _event(self, event: Message) -> Message:
        told = type(event)()
        told.CopyFrom(event)
        match told:
            case RunStarted():
                told.facts.CopyFrom(self._facts)
            case DecisionMade(observation_id=known):
                told.observation_id = self._new(known)
            case DecisionWithdrawn(decision_id=known):
                told.decision_id = self._new(known)
            case ChangeDeferred(command_id=known):
                told.command_id = self._new(known)
            case _:
                pass
        return told

    def _new(self, known: str) -> str:
        return self._renamed.get(known, known)
