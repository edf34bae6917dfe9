"""What a session measures: everything, where somebody may hear it; and nothing at all where nobody can."""

import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch

from actors.loop import BackgroundLoop
from actors.place import Place
from esper.api import measuring, session
from esper.api.measuring import EpochTold, Measured, Unmeasured
from esper.api.tally import Tally
from esper.leyline.registry import COMMANDS, EVENTS
from esper.leyline.v1.enums_pb2 import SeedLifecycleStage as Stage
from esper.leyline.v1.run_pb2 import EpochFacts
from esper.leyline.v1.site_pb2 import Moment, SeedObservation
from eventstore.oona import Oona, connect
from eventstore.oona.server import LocalServer
from tests.api.scripted_log import Run, ScriptedLog

LOSS = torch.tensor(0.5)


class Listener(Unmeasured):
    """Keeps what it is told."""

    listens = True

    def __init__(self) -> None:
        self.steps: list[Moment] = []
        self.told: list[EpochTold] = []

    def step(self, at: Moment, loss: torch.Tensor, **_: Any) -> None:
        self.steps.append(at)

    def epoch(self, facts: EpochFacts, told: EpochTold) -> None:
        self.told.append(told)


def listened_to(run: Run) -> Listener:
    run.session._measuring = listener = Listener()
    return listener


def blocks_left(run: Run, count: int) -> dict[str, int]:
    """Train *count* steps; return, by file of the instrumentation, how many blocks they left in memory."""
    files = [measuring.__file__, sys.modules["actors.measuring"].__file__, sys.modules["esper.api.tally"].__file__]
    tracemalloc.start()
    try:
        run.steps(count)
        taken = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, str(file)) for file in files])
    finally:
        tracemalloc.stop()
    return {str(stat.traceback): stat.count for stat in taken.statistics("filename")}


def test_where_nobody_listens_a_step_tells_and_keeps_nothing(log: ScriptedLog, monkeypatch: pytest.MonkeyPatch):
    run = Run(log).to(1)
    assert isinstance(run.session._measuring, Unmeasured)
    monkeypatch.setattr(Unmeasured, "step", lambda *_, **__: pytest.fail("nobody listens"))
    monkeypatch.setattr(session, "EpochTold", lambda **_: pytest.fail("nobody listens"))
    assert blocks_left(run, 6) == {}
    run.session.end_epoch()


def test_where_somebody_listens_every_step_and_epoch_is_told(log: ScriptedLog):
    run = Run(log)
    listener = listened_to(run)
    run.to(2)
    assert [at.step for at in listener.steps] == list(range(1, 17))
    first, second = listener.told
    assert (first.recorded, first.seeds_active, first.outbox_depth, first.frozen) == (True, 0, 0, False)
    assert second.seeds_germinated == second.tally.kernels_asked == 1
    assert second.end_s > second.fence_s > 0.0
    assert second.learning_rate == 1e-2


def test_what_goes_wrong_is_counted(log: ScriptedLog):
    run = Run(log).to(4)
    listener = listened_to(run)
    run.session.freeze("to see")
    log.store.down = True
    run.to(5)
    (told,) = listener.told
    assert (told.recorded, told.frozen, told.outbox_depth) == (False, True, 2)
    assert told.tally.unanswered >= told.tally.unrecorded_epochs == 1
    log.store.down = False
    run.to(6)
    assert run.session.rollback(4)
    run.to(7)
    assert listener.told[-1].tally.rollbacks_fast + listener.told[-1].tally.rollbacks_full == 1
    assert listener.told[-1].snapshots > 0


@pytest.fixture
def loop() -> Iterator[BackgroundLoop]:
    with BackgroundLoop("measured") as loop:
        yield loop


@pytest.fixture
def oona(loop: BackgroundLoop, nats_server: LocalServer, tmp_path: Path) -> Iterator[Oona]:
    keys = Place.at(tmp_path, {}).keys
    oona = loop.call(connect(nats_server.url, keys=keys, types=EVENTS, commands=COMMANDS))
    yield oona
    loop.call(oona.close())


def told(**changes: Any) -> EpochTold:
    known = dict.fromkeys(EpochTold.__struct_fields__, 0) | {"recorded": True, "frozen": False, "tally": Tally()}
    return EpochTold(**(known | changes))


def test_telling_waits_for_nobody(loop: BackgroundLoop, oona: Oona):
    measured, hold = Measured(loop, oona.telemetry, oona.bus, "a" * 32), Event()

    async def busy() -> None:
        hold.wait(60)

    stuck = loop.spawn(busy())
    for step in range(1, 2_001):
        measured.step(Moment(step=step), LOSS, latency_s=0.1, overhead_s=0.0, fence_s=0.0)
    measured.epoch(EpochFacts(at=Moment(step=2_000, epoch=1)), told())
    assert not stuck.done()
    hold.set()
    measured.close()
    assert measured._telemetry.publisher.counts.offered >= 2_000 // 256 + 2


def test_each_seed_is_told_of_by_its_name(loop: BackgroundLoop, oona: Oona):
    measured, packets = Measured(loop, oona.telemetry, oona.bus, "a" * 32), list[Any]()
    measured._telemetry._offer = lambda subject, subsystem, series, *_: packets.append((subsystem, series))
    stages = {"s0": Stage.SEED_STAGE_GERMINATED, "s1": Stage.SEED_STAGE_BLENDING}
    seeds = [SeedObservation(seed_id=name, stage=stage, measured={"rms_ratio": 1.5}) for name, stage in stages.items()]
    measured.epoch(EpochFacts(at=Moment(epoch=1), seeds=seeds), told(seeds_active=2))
    measured.close()
    ((tolaria, of_run), (kasmina, of_seeds), *_) = packets
    assert (tolaria, kasmina) == ("tolaria", "kasmina")
    assert {one.name: one.values[0] for one in of_run}["tolaria.seeds.active"] == 2.0
    by = {(one.about, one.name): one.values[0] for one in of_seeds}
    assert by["", "kasmina.prefetch.inflight"] == 1.0
    assert by["s1", "kasmina.seed.rms_ratio"] == 1.5
    assert by["s0", "kasmina.seed.stage"] == float(Stage.SEED_STAGE_GERMINATED)
