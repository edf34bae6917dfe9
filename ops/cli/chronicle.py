"""The log as the commands read it: events in order, the runs they belong to, and what caused what."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import msgspec
from google.protobuf.message import Message

from esper.kasmina.rules.seed import SEED, Seed, SeedEvent
from esper.leyline.v1.enums_pb2 import SeedLifecycleStage as Stage
from esper.leyline.v1.run_pb2 import (
    CheckpointCommitted,
    EpochEnded,
    RunBranched,
    RunFinished,
    RunForked,
    RunResumed,
    RunRolledBack,
    RunStarted,
)
from esper.leyline.v1.seed_pb2 import SeedCulled, SeedGerminated
from esper.leyline.v1.site_pb2 import Moment
from eventstore.errors import LogCorrupt, UnknownEventType
from eventstore.store import EventStore, Recorded, StreamName
from ops.cli.errors import AmbiguousRun, UnknownPosition, UnknownRun

LATEST = "latest"
SHORT = 12


class RunRow(msgspec.Struct, frozen=True, kw_only=True):
    """One run at a glance. `status` is "open" while no end was recorded: it runs, or it was killed.

    `forked_from` and `forked_at` are the run and position that a fork's past is of; `forks` are those made of this run.
    """

    run_id: str
    status: str = "open"
    started_at: str = ""
    model: str = ""
    data: str = ""
    epochs: int = 0
    steps: int = 0
    score: float | None = None
    parameters_before: int = 0
    parameters_now: int = 0
    germinated: int = 0
    kept: int = 0
    culled: int = 0
    first_position: int = 0
    last_position: int = 0
    forked_from: str = ""
    forked_at: int = 0
    forks: tuple[str, ...] = ()


class Roll:
    """The runs of a log, told from its events one after the other; no event is kept."""

    def __init__(self) -> None:
        self._rows: dict[str, RunRow] = {}
        self._seeds: dict[StreamName, Seed] = {}

    def note(self, recorded: Recorded) -> None:
        """Take in the next event."""
        run_id = run_of(recorded)
        before = self._rows.get(run_id)
        if before is None:
            before = RunRow(run_id=run_id, first_position=recorded.position)
        row = _row_after(before, recorded)
        self._rows[run_id] = msgspec.structs.replace(row, kept=row.kept + self._kept_by(recorded))

    def _kept_by(self, recorded: Recorded) -> int:
        """Return by how much an event changes the number of kept seeds; a rollback may take some of them back."""
        if not isinstance(recorded.event, SeedEvent):
            return 0
        before = self._seeds.get(recorded.stream, SEED.initial)
        now = self._seeds[recorded.stream] = SEED.evolve(before, recorded.event)
        return (now.stage == Stage.SEED_STAGE_FOSSILIZED) - (before.stage == Stage.SEED_STAGE_FOSSILIZED)

    def rows(self) -> tuple[RunRow, ...]:
        """Return one row per run that was started, the oldest first."""
        return tuple(row for row in self._rows.values() if row.started_at)


class Chronicle:
    """A part of the log from its first position on, held in memory; `damage` is what stopped the reading, if any."""

    def __init__(self, events: Iterable[Recorded], damage: LogCorrupt | UnknownEventType | None = None) -> None:
        self.events = tuple(events)
        self.damage = damage
        self._by_id = {recorded.event_id: recorded for recorded in self.events}
        self._sizes: dict[int, int] = {}
        for recorded in self.events:
            self._sizes[recorded.position] = self._sizes.get(recorded.position, 0) + 1

    def runs(self) -> tuple[RunRow, ...]:
        """Return one row per run, the oldest first."""
        roll = Roll()
        for recorded in self.events:
            roll.note(recorded)
        return roll.rows()

    def run_named(self, asked: str) -> str:
        """Return the id of the run called *asked*: `latest`, or the beginning of exactly one run's id.

        Raises:
            UnknownRun, AmbiguousRun
        """
        known = [row.run_id for row in self.runs()]
        if asked == LATEST and known:
            return known[-1]
        matching = [run_id for run_id in known if run_id.startswith(asked.lower())]
        if asked in matching or len(matching) == 1:
            return asked if asked in matching else matching[0]
        raise AmbiguousRun(asked, matching) if matching else UnknownRun(asked, known)

    def of_run(self, run_id: str) -> tuple[Recorded, ...]:
        """Return the run's events: its own streams', and what other streams recorded on its behalf."""
        return tuple(recorded for recorded in self.events if run_of(recorded) == run_id)

    def of_stream(self, stream: StreamName) -> tuple[Recorded, ...]:
        """Return one stream's events."""
        return tuple(recorded for recorded in self.events if recorded.stream == stream)

    def cause(self, recorded: Recorded) -> Recorded | None:
        """Return the event that made somebody send the command which *recorded* answers; None at the root."""
        return self._by_id.get(recorded.context.causation_id)

    def label(self, recorded: Recorded) -> str:
        """Return an event's position as people type it: "1042", or "1042.1" inside a commit of several."""
        return f"{recorded.position}.{recorded.index}" if self._sizes[recorded.position] > 1 else str(recorded.position)

    def at(self, run_id: str, label: str) -> Recorded:
        """Return the event of the run at "1042" (the last of that commit) or "1042.1".

        Raises:
            UnknownPosition: there is none, or *label* is no position.
        """
        position, _, index = label.partition(".")
        if not position.isdecimal() or (index and not index.isdecimal()):
            raise UnknownPosition(run_id, label, "a position is a number like 1042, or 1042.1 within one decision")
        commit = [recorded for recorded in self.events if recorded.position == int(position)]
        if not commit:
            last = self.events[-1].position if self.events else 0
            raise UnknownPosition(run_id, label, f"the log's positions are 1 to {last}")
        if run_of(commit[0]) != run_id:
            raise UnknownPosition(run_id, label, f"that position belongs to {commit[0].stream}")
        chosen = commit[-1:] if not index else [one for one in commit if one.index == int(index)]
        if not chosen:
            raise UnknownPosition(run_id, label, f"that commit holds {len(commit)} events, numbered from 0")
        return chosen[0]

    def commit_of(self, recorded: Recorded) -> tuple[Recorded, ...]:
        """Return all events of the decision that *recorded* is part of."""
        return tuple(one for one in self.events if one.position == recorded.position)


async def read_chronicle(store: EventStore, *, until: int | None = None) -> Chronicle:
    """Read the log up to position *until* (default: all of it).

    Raises: as `EventStore.read_all`.
    """
    return Chronicle([recorded async for recorded in store.read_all(until=until)])


async def read_runs(store: EventStore) -> tuple[RunRow, ...]:
    """Read the whole log and return one row per run, the oldest first; memory grows with the runs only.

    Raises: as `EventStore.read_all`.
    """
    roll = Roll()
    async for recorded in store.read_all():
        roll.note(recorded)
    return roll.rows()


async def read_what_is_sound(store: EventStore) -> Chronicle:
    """Read the log up to its first damaged commit, and keep what was wrong with that one as `damage`."""
    events: list[Recorded] = []
    try:
        async for recorded in store.read_all():
            events.append(recorded)
    except (LogCorrupt, UnknownEventType) as damage:
        return Chronicle(events, damage)
    return Chronicle(events)


def run_of(recorded: Recorded) -> str:
    """Return the id of the run that an event belongs to; "" if to none."""
    aggregate, aggregate_id = recorded.stream
    if aggregate in ("run", "policy", "report"):
        return aggregate_id
    return aggregate_id.partition("-")[0] if aggregate == "seed" else recorded.context.run_id


def seed_of(recorded: Recorded) -> str:
    """Return the slot that an event is about ("s0"); "" if it is about none."""
    if recorded.stream.aggregate == "seed":
        return recorded.stream.aggregate_id.partition("-")[2]
    return str(getattr(recorded.event, "seed_id", ""))


def moment_of(event: Message) -> Moment | None:
    """Return when *event* takes effect on the training's own clocks; None if it has no place there."""
    match event:
        case RunStarted():
            return Moment()
        case EpochEnded():
            return event.facts.at
        case CheckpointCommitted():
            return event.checkpoint.at
        case RunFinished():
            return event.summary.at
        case _:
            at = getattr(event, "at", None)
            return at if isinstance(at, Moment) else None


def short_type(event_type: str) -> str:
    """Return a type's last name: "SeedCulled"."""
    return event_type.rsplit(".", 1)[-1]


def wall_time(recorded_at_ns: int) -> str:
    """Return a moment of wall time as UTC, to the millisecond."""
    return datetime.fromtimestamp(recorded_at_ns / 1e9, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _row_after(row: RunRow, recorded: Recorded) -> RunRow:
    row = msgspec.structs.replace(row, last_position=recorded.position)
    match recorded.event:
        case RunStarted(facts=facts):
            return msgspec.structs.replace(
                row,
                started_at=wall_time(recorded.context.recorded_at_ns),
                model=facts.model_class,
                data=facts.data,
                parameters_before=facts.host_parameters,
                parameters_now=facts.host_parameters,
                status="incomplete" if facts.HasField("origin") else "open",
                forked_from=facts.origin.run_id,
                forked_at=facts.origin.position,
            )
        case EpochEnded(facts=facts):
            score = facts.score if facts.HasField("score") else row.score
            return msgspec.structs.replace(
                row, epochs=facts.at.epoch, steps=facts.at.step, score=score, parameters_now=facts.model_parameters
            )
        case RunRolledBack(last_epoch=then):
            parameters = then.model_parameters or row.parameters_before
            return msgspec.structs.replace(
                row, score=then.score if then.HasField("score") else None, parameters_now=parameters
            )
        case SeedGerminated():
            return msgspec.structs.replace(row, germinated=row.germinated + 1)
        case SeedCulled():
            return msgspec.structs.replace(row, culled=row.culled + 1)
        case RunFinished(summary=summary):
            return msgspec.structs.replace(row, status="finished", parameters_now=summary.parameters_after)
        case RunResumed() if row.status != "incomplete":
            return msgspec.structs.replace(row, status="open")
        case RunForked():
            return msgspec.structs.replace(row, status="open")
        case RunBranched(run_id=run_id):
            return msgspec.structs.replace(row, forks=(*row.forks, run_id))
        case _:
            return row


def runs_shown(rows: Sequence[RunRow]) -> list[tuple[str, ...]]:
    """Return *rows* as table cells."""
    return [
        (
            row.run_id[:SHORT],
            row.status,
            row.started_at[:19].replace("T", " "),
            row.model.rsplit(".", 1)[-1],
            str(row.epochs),
            "-" if row.score is None else f"{row.score:.4f}",
            f"{row.parameters_before:,} -> {row.parameters_now:,}",
            f"{row.germinated}/{row.kept}/{row.culled}",
            f"{row.first_position}-{row.last_position}",
            f"{row.forked_from[:SHORT]} at {row.forked_at}" if row.forked_from else "",
        )
        for row in rows
    ]
