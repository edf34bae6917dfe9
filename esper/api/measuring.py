"""Telemetry of a session: published where somebody may hear it, left out where nobody can."""

from collections.abc import Mapping
from concurrent.futures import Future
from typing import Protocol

import msgspec
from torch import Tensor

from actors.clock import SystemClock
from actors.logs import logger
from actors.loop import BackgroundLoop
from actors.measuring import NOT_MEASURED, RunTelemetry, StepMeasures
from actors.place import Bus
from esper.api.logs import OpenLog
from esper.api.tally import Tally
from esper.leyline.v1.enums_pb2 import SeedLifecycleStage
from esper.leyline.v1.run_pb2 import EpochFacts
from esper.leyline.v1.site_pb2 import Moment
from eventstore.oona.telemetry import OonaTelemetry

FAREWELL_S = 2.0


class EpochTold(msgspec.Struct, frozen=True, kw_only=True):
    """What is told of an epoch beside its facts; `recorded`: the log has acknowledged it. Times in seconds."""

    recorded: bool
    end_s: float
    fence_s: float
    learning_rate: float
    outbox_depth: int
    frozen: bool
    seeds_active: int
    seeds_germinated: int
    seeds_culled: int
    snapshots: int
    snapshot_bytes: int
    tally: Tally


class Measuring(Protocol):
    """What a session tells of its steps and epochs; nothing waits for it and nothing fails because of it.

    The one way out for measurements. Where `listens` is False, a session does not even gather what it would tell.
    """

    @property
    def listens(self) -> bool:
        """Whether anybody may hear it."""
        ...

    def step(self, at: Moment, loss: Tensor, *, latency_s: float | None, overhead_s: float, fence_s: float) -> None:
        """Tell of one optimizer step; *latency_s* is None for an epoch's first."""
        ...

    def epoch(self, facts: EpochFacts, told: EpochTold) -> None:
        """Tell of an epoch that has ended."""
        ...

    def close(self) -> None:
        """Send what waits, at most for a moment."""
        ...


class Unmeasured:
    """Publishes nothing."""

    listens = False

    def step(self, at: Moment, loss: Tensor, *, latency_s: float | None, overhead_s: float, fence_s: float) -> None:
        """Do nothing."""

    def epoch(self, facts: EpochFacts, told: EpochTold) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class Measured:
    """Publishes to the telemetry stream, from the background loop."""

    listens = True

    def __init__(self, loop: BackgroundLoop, lane: OonaTelemetry, bus: Bus, run_id: str) -> None:
        self._loop, self._closed = loop, False
        self._telemetry = loop.call(_made(lane, bus, run_id))
        self._running: Future[None] = loop.spawn(self._telemetry.run())
        self._running.add_done_callback(_say_why)

    def step(self, at: Moment, loss: Tensor, *, latency_s: float | None, overhead_s: float, fence_s: float) -> None:
        """Tell of one optimizer step. A loss that is not on the CPU is left out: reading it would wait for a device."""
        self._telemetry.step(
            StepMeasures(
                step=at.step,
                epoch=at.epoch,
                loss=loss.item() if loss.is_cpu else NOT_MEASURED,
                latency_ms=NOT_MEASURED if latency_s is None else latency_s * 1e3,
                overhead_ms=overhead_s * 1e3,
                fence_wait_ms=fence_s * 1e3,
            )
        )

    def epoch(self, facts: EpochFacts, told: EpochTold) -> None:
        """Tell of an epoch that has ended."""
        at = (facts.at.step, facts.at.epoch)
        self._telemetry.epoch(*at, _of_the_run(facts, told))
        self._telemetry.seeds(*at, _of_all_seeds(facts, told), _of_each_seed(facts))

    def close(self) -> None:
        """Send what waits, at most for a moment; closing twice is harmless."""
        if not self._closed:
            self._closed = True
            self._loop.call(self._telemetry.finish(FAREWELL_S))


def _of_the_run(facts: EpochFacts, told: EpochTold) -> Mapping[str, float]:
    tally = told.tally
    return {
        "tolaria.epoch.loss": facts.train_loss,
        "tolaria.epoch.score": facts.score if facts.HasField("score") else NOT_MEASURED,
        "tolaria.epoch.unrecorded": float(not told.recorded),
        "tolaria.epochs.total": float(facts.at.epoch),
        "tolaria.epochs.failed": float(tally.unrecorded_epochs),
        "tolaria.epoch_hook.latency_ms": told.end_s * 1e3,
        "tolaria.epoch_hook.fence_ms": told.fence_s * 1e3,
        "tolaria.seeds.active": float(told.seeds_active),
        "tolaria.lr_controller.current_lr": told.learning_rate,
        "tolaria.outbox.depth": float(told.outbox_depth),
        "tolaria.emergency.frozen": float(told.frozen),
        "tolaria.timeout.log_total": float(tally.unanswered),
        "tolaria.checkpoint.latency_ms": tally.checkpoint_s * 1e3,
        "tolaria.checkpoint.bytes": tally.checkpoint_bytes,
        "tolaria.rollback.fast_hits_total": float(tally.rollbacks_fast),
        "tolaria.rollback.fast_misses_total": float(tally.rollbacks_full),
        "tolaria.rollback.restore_latency_ms": tally.restore_s * 1e3,
        "tolaria.rollback.snapshots_held": float(told.snapshots),
        "tolaria.rollback.fast_size_bytes": float(told.snapshot_bytes),
    }


def _of_all_seeds(facts: EpochFacts, told: EpochTold) -> Mapping[str, float]:
    stages = [seed.stage for seed in facts.seeds]
    return {
        "kasmina.seeds.active": float(told.seeds_active),
        "kasmina.seeds.germinated_total": float(told.seeds_germinated),
        "kasmina.seeds.culled_total": float(told.seeds_culled),
        "kasmina.isolation.violations": sum(seed.measured.get("isolation_violations", 0.0) for seed in facts.seeds),
        "kasmina.prefetch.requests_total": float(told.tally.kernels_asked),
        "kasmina.prefetch.inflight": float(stages.count(SeedLifecycleStage.SEED_STAGE_GERMINATED)),
        "kasmina.kernel.fetch_latency_ms": told.tally.kernel_wait_s * 1e3,
    }


def _of_each_seed(facts: EpochFacts) -> Mapping[str, Mapping[str, float]]:
    return {
        seed.seed_id: {
            "kasmina.seed.stage": float(seed.stage),
            "kasmina.seed.generation": float(seed.generation),
            "kasmina.seed.alpha": seed.alpha,
            "kasmina.seed.epochs_in_stage": float(seed.epochs_in_stage),
            **{f"kasmina.seed.{name}": value for name, value in seed.measured.items()},
        }
        for seed in facts.seeds
    }


def _say_why(running: "Future[None]") -> None:
    """Training goes on without telemetry, and its log says why there is none."""
    error = None if running.cancelled() else running.exception()
    if error is not None:
        logger("trainer").error("telemetry has ended", error=repr(error))


async def _made(lane: OonaTelemetry, bus: Bus, run_id: str) -> RunTelemetry:
    return RunTelemetry(lane, bus, run_id, SystemClock())


def measuring(opened: OpenLog, run_id: str, *, wanted: bool) -> Measuring:
    """Return what measures a run: nothing, if it is not *wanted* or the log has no lane for it."""
    if not wanted or opened.telemetry is None:
        return Unmeasured()
    return Measured(opened.loop, opened.telemetry, opened.log.bus, run_id)
