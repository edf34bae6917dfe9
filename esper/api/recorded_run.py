"""A recorded run to look into, from a notebook or a script: its facts, events, causes, past states and tables."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, cast

import msgspec

from actors.place import Place
from actors.projector import ask_frame
from actors.runs import runs_there
from esper.api.errors import UnknownRun
from esper.api.logs import EMBEDDED, OpenLog, open_named
from esper.api.tables import RunTable
from esper.kasmina.rules.seed import SEED, Seed
from esper.leyline.v1.run_pb2 import RunFacts, RunStarted
from esper.nissa.recorded import run_of, seed_of
from esper.tolaria.rules.run import RUN, Run
from eventstore.projection.live import Question
from eventstore.replay import fold
from eventstore.store import Recorded

LATEST = "latest"


class RunState(msgspec.Struct, frozen=True, kw_only=True):
    """A run as it stood at a position, folded from its events: itself, and each of its growth slots by name."""

    position: int
    run: Run
    seeds: Mapping[str, Seed]


class RecordedRun:
    """One run of a log, finished or under way; what is recorded later is seen by later calls.

    Reading changes nothing. It holds a connection until it is closed: use it in a `with` statement, or call `close`.
    """

    def __init__(self, run_id: str, opened: OpenLog) -> None:
        """Take over *opened*; use `open_run`."""
        self.run_id = run_id
        self._opened = opened
        self._events: list[Recorded] = []
        self._read_to = 0

    @property
    def facts(self) -> RunFacts:
        """What the run began with: model, sites, settings, seed, versions."""
        return next(one.event.facts for one in self.events() if isinstance(one.event, RunStarted))

    def events(self, type: str = "", *, seed: str = "") -> tuple[Recorded, ...]:  # noqa: A002 - what it is called
        """Return what happened, in the order it was recorded; only types containing *type*, only about slot *seed*.

        Raises:
            LogCorrupt, UnknownEventType: at the first event of the log that fails verification.
        """
        self._catch_up()
        return tuple(
            one
            for one in self._events
            if run_of(one) == self.run_id
            and type.lower() in one.event.DESCRIPTOR.name.lower()
            and seed in ("", seed_of(one))
        )

    def why(self, event: Recorded) -> tuple[Recorded, ...]:
        """Return *event* and what led to it: its cause, the cause of that, and so on back to the root."""
        self._catch_up()
        by_id = {one.event_id: one for one in self._events}
        links = [event]
        while (cause := by_id.get(links[-1].context.causation_id)) is not None and cause.position < links[-1].position:
            links.append(cause)
        return tuple(links)

    def state(self, at: int | None = None) -> RunState:
        """Return the run as it stood at position *at* of the log; as it stands now without one."""
        events = [one for one in self.events() if at is None or one.position <= at]
        slots = sorted({seed_of(one) or "" for one in events if one.stream.aggregate == "seed"})
        own = [one for one in events if one.stream.aggregate == "run"]
        seeds = {name: self._slot(name, events) for name in slots}
        position = events[-1].position if events else 0
        return RunState(position=position, run=fold(own, RUN.initial, cast("Any", RUN.evolve)).state, seeds=seeds)

    def frame(self, name: str, *, at: int | None = None) -> RunTable:
        """Return the rows of a view or table that belong to this run, as they were at position *at*, or are now.

        `esper query --list` names the views. One that knows no runs comes whole.

        Raises: as `sql`.
        """
        quoted = name.replace('"', '""')
        columns = self.sql(f'select column_name from (describe "{quoted}")').arrow()  # noqa: S608 one quoted name
        mine = f" where run_id = '{self.run_id}'" if "run_id" in columns.column(0).to_pylist() else ""
        return self.sql(f'select * from "{quoted}"{mine}', at=at)  # noqa: S608 one quoted name

    def sql(self, question: str, *, at: int | None = None) -> RunTable:
        """Return the whole result of one SELECT over the log's tables, of all runs.

        Raises:
            QueryRefused, QueryTimedOut: it is not one harmless question, or takes too long.
            ProjectorFailed: the result is larger than a frame may be, or the projector lacks pyarrow.
            PositionNotReached: the projector is behind what was recorded, or *at* is not past yet.
            ArrowMissing: pyarrow is not installed here.
        """
        return RunTable(self._opened.loop.call(self._framed(question, at)))

    def close(self) -> None:
        """Let go of the connection, and of the stack if it was started for this."""
        self._opened.close()

    def __enter__(self) -> "RecordedRun":
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def __repr__(self) -> str:
        """Name the run."""
        return f"<run {self.run_id}>"

    async def _framed(self, question: str, at: int | None) -> Any:
        head = (await self._opened.log.store.identity()).last_position
        return await ask_frame(self._opened.log.bus, Question(sql=question, min_position=head, at=at))

    def _catch_up(self) -> None:
        self._opened.loop.call(self._read())

    async def _read(self) -> None:
        async for one in self._opened.log.store.read_all(after=self._read_to):
            self._events.append(one)
        self._read_to = self._events[-1].position if self._events else 0

    def _slot(self, name: str, events: list[Recorded]) -> Seed:
        own = [one for one in events if one.stream.aggregate == "seed" and seed_of(one) == name]
        return fold(own, SEED.initial, cast("Any", SEED.evolve)).state


def open_run(run: str = LATEST, *, folder: str | Path = ".esper", log: str = EMBEDDED) -> RecordedRun:
    """Open a recorded run to look into: "latest", an id, or the unique beginning of one.

    The local stack at *folder* is joined, or started for as long as this is open; *log* names another server
    ("nats://..."). Nothing is written.

    Raises:
        UnknownRun: the log holds none of that name, or there is no log.
        StackNotReady, StoreUnavailable: the log cannot be reached.
    """
    place = Path(folder)
    if log == EMBEDDED and not (place / "nats").is_dir():
        raise UnknownRun(run, str(place), 0)
    opened = open_named(log, Place.at(place))
    try:
        fitting = opened.loop.call(runs_there(opened.log.store, run.lower()))
        if len(fitting) != 1:
            raise UnknownRun(run, str(place) if log == EMBEDDED else log, len(fitting))
        return RecordedRun(fitting[0], opened)
    except BaseException:
        opened.close()
        raise
