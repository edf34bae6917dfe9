"""Runs that are killed over and over and resumed, beside one that was not; what the log says of each death."""

import json
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain, cycle, islice
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, TypeVar

import msgspec

import esper
from actors.place import Place
from actors.runs import LATEST, runs_there
from actors.streams import run_stream, seed_stream
from actors.verification import Verified, verify_run
from esper.api.logs import EMBEDDED, open_named
from esper.kasmina.rules.seed import SEED
from esper.leyline.v1.enums_pb2 import SeedLifecycleStage as Stage
from eventstore.errors import StoreUnavailable
from eventstore.store import EventStore, Recorded, StreamName
from tests.journeys.kills import nursery
from tests.journeys.kills.life import Result
from tests.journeys.kills.tripwire import CHECKPOINT, COMMIT, RESTORE, RESUME, STEP, Death

SLOTS = ("s0", "s1")
STAGES = (
    "dormant",
    "germinated",
    "training",
    "blending",
    "shadowing",
    "probationary",
    "fossilized",
    "culled",
    "embargoed",
    "resetting",
)
ZONES = (STEP, COMMIT, STEP, CHECKPOINT, STEP, RESTORE, STEP, STEP, COMMIT, RESUME)
# How many deaths the runs of a host die, one run after the other.
DEATHS_OF_A_RUN = (1, 2, 1, 3)
# A resume is shorter than the life that it goes on with: at most this many of its lines come before a death in it.
LINES_OF_A_RESUME = 300
PROCESS_WAIT_S = 600
ANSWER_WAIT_S, ASKED_AT_MOST = 120, 4

Answer = TypeVar("Answer")


class Died(NamedTuple):
    """One death: of which host, where it was to happen, and the stages of the slots and the last event in the log."""

    host: str
    death: Death
    stages: tuple[str, ...]
    event: str


class Trial(NamedTuple):
    """One run: its deaths, and whether in the end all was as in the run that was not disturbed."""

    host: str
    run_id: str
    died: tuple[Died, ...]
    identical: bool


class Campaign:
    """Trains on the stack at a place, and reads its log."""

    def __init__(self, place: Place, results: Path) -> None:
        self._place, self._results = place, results
        self._opened = open_named(EMBEDDED, place)
        command = [sys.executable, "-m", nursery.__name__]
        self._nursery = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.unkilled: dict[str, Result] = {}

    def __enter__(self) -> "Campaign":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._nursery.communicate(timeout=PROCESS_WAIT_S)
        self._opened.close()

    def undisturbed(self, host: str) -> Result:
        """Train a host without a death, once."""
        if host not in self.unkilled:
            self.unkilled[host] = self._to_its_end(host, "--count-lines")
        return self.unkilled[host]

    def trial(self, host: str, deaths: Sequence[Death]) -> Trial:
        """Train a host that dies of each of *deaths*, one after the other, and is resumed after each."""
        died, run_id, result = list[Died](), "", None
        for death in deaths:
            before = self._newest()
            result = self._lived(host, "--die", ",".join(map(str, death)), *(["--resume", run_id] if run_id else []))
            run_id = run_id if run_id or self._newest() == before else self._newest()
            if result is not None:
                break
            died.append(Died(host, death, *self._at_death(run_id)))
        result = result or self._to_its_end(host, *(["--resume", run_id] if run_id else []))
        ended = result.run_id
        assert isinstance(self._asked(lambda: verify_run(self._store, ended)), Verified)
        return Trial(host, ended, tuple(died), result.state == self.unkilled[host].state)

    def forked(self, host: str, run_id: str, position: int) -> bool:
        """Fork a run and train the fork to its end; whether it ended as the run did."""
        made = esper.fork(run_id, at=position, folder=self._place.folder)
        return self._to_its_end(host, "--resume", made.run_id).state == self.unkilled[host].state

    def retrained(self, host: str, run_id: str) -> Result:
        """Train a run again from its beginning, held against its record."""
        return self._to_its_end(host, "--retrain", run_id)

    def positions(self, run_id: str) -> range:
        """Return the positions between a run's beginning and its end."""
        events = self._read(run_stream(run_id))
        return range(events[0].position, events[-1].position + 1)

    @property
    def _store(self) -> EventStore:
        return self._opened.log.store

    def _read(self, stream: StreamName) -> Sequence[Recorded]:
        return self._asked(lambda: self._store.read_stream(stream))

    def _asked(self, work: Callable[[], Coroutine[Any, Any, Answer]]) -> Answer:
        """Ask the log, once more if it did not answer: only a machine that is busy beyond measure keeps it silent."""
        for _ in range(ASKED_AT_MOST - 1):
            with suppress(StoreUnavailable, TimeoutError):
                return self._opened.loop.call(work(), ANSWER_WAIT_S)
        return self._opened.loop.call(work(), ANSWER_WAIT_S)

    def _newest(self) -> str:
        return "".join(self._asked(lambda: runs_there(self._store, LATEST)))

    def _at_death(self, run_id: str) -> tuple[tuple[str, ...], str]:
        if not run_id:
            return ("unknown",) * len(SLOTS), ""
        slots = [self._read(seed_stream(run_id, slot)) for slot in SLOTS]
        events = chain(self._read(run_stream(run_id)), *slots)
        last = max(events, key=lambda one: (one.position, one.index))
        return tuple(_stage(stream) for stream in slots), last.event_type.rpartition(".")[2]

    def _to_its_end(self, host: str, *more: str) -> Result:
        result = self._lived(host, *more)
        assert result is not None
        return result

    def _lived(self, host: str, *more: str) -> Result | None:
        """Live a host's life in a process of its own; None if it was killed."""
        file, talk = self._results / "result.json", self._results / "talk"
        file.unlink(missing_ok=True)
        assert self._nursery.stdin is not None
        assert self._nursery.stdout is not None
        self._nursery.stdin.write(json.dumps([str(talk), host, str(self._place.folder), str(file), *more]) + "\n")
        self._nursery.stdin.flush()
        code = int(self._nursery.stdout.readline())
        if code == -signal.SIGKILL:
            return None
        assert code == 0, talk.read_text()
        return msgspec.json.decode(file.read_bytes(), type=Result)


def _stage(events: Sequence[Recorded]) -> str:
    seed = SEED.fold(one.event for one in events)  # type: ignore[misc]
    return Stage.Name(seed.stage).removeprefix("SEED_STAGE_").lower()


def planned(unkilled: Result, count: int, draw: random.Random, *, first: int) -> list[Death]:
    """Draw *count* deaths of a host, every stage and every zone in its turn."""
    stages, zones = cycle(STAGES[first:] + STAGES[:first]), islice(cycle(ZONES), first, None)
    return [_drawn(unkilled, zone, next(stages) if zone == STEP else "", draw) for zone in islice(zones, count)]


def _drawn(unkilled: Result, zone: str, stage: str, draw: random.Random) -> Death:
    if zone == RESUME:
        return Death(RESUME, 0, draw.randint(1, LINES_OF_A_RESUME))
    if zone == STEP:
        at = draw.choice([step for step, stages in unkilled.stages.items() if stage in stages])
        return Death(STEP, at, int(draw.uniform(0, 0.5) * unkilled.step_seconds * 1e6))
    lines = {step: counted[zone] for step, counted in unkilled.lines.items() if step >= 0 and counted.get(zone)}
    # A longer stretch is not met more often: else nearly every death would be that of a germination.
    at = draw.choice(sorted(lines))
    return Death(zone, at, draw.randint(1, lines[at]))


def in_runs(deaths: Iterable[Death]) -> Iterator[tuple[Death, ...]]:
    """Deal *deaths* out to runs, in the order of their steps; a death in a resume follows another."""
    rest = list(deaths)
    for count in cycle(DEATHS_OF_A_RUN):
        if not rest:
            return
        run, rest = rest[:count], rest[count:]
        if run[0].zone == RESUME and len(run) == 1 and rest:
            run = [rest.pop(0), *run]
        ordered = sorted((death for death in run if death.zone != RESUME), key=lambda death: death.after)
        yield (*ordered[:1], *(death for death in run if death.zone == RESUME), *ordered[1:])


def table(trials: Sequence[Trial]) -> list[str]:
    """Return what came of *trials*, per host and per stage, as lines."""
    died = [one for trial in trials for one in trial.died]
    lines = [f"{len(died)} deaths in {len(trials)} runs, {sum(trial.identical for trial in trials)} runs identical"]
    for host in dict.fromkeys(trial.host for trial in trials):
        mine = [trial for trial in trials if trial.host == host]
        deaths = sum(len(trial.died) for trial in mine)
        lines.append(f"{host}: {deaths} deaths in {len(mine)} runs, {sum(trial.identical for trial in mine)} identical")
    zones = Counter(one.death.zone for one in died)
    lines.append("by place: " + ", ".join(f"{zone} {zones[zone]}" for zone in dict.fromkeys(ZONES)))
    stages = Counter(stage for one in died for stage in set(one.stages))
    lines.append("by stage: " + ", ".join(f"{stage} {stages[stage]}" for stage in STAGES))
    return lines
