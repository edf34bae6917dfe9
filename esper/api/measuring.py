"""Telemetry of a session: published where somebody may hear it, left out where nobody can."""

from concurrent.futures import Future
from typing import Protocol

from torch import Tensor

from actors.clock import SystemClock
from actors.logs import logger
from actors.loop import BackgroundLoop
from actors.measuring import NOT_MEASURED, RunTelemetry, StepMeasures
from actors.place import Bus
from esper.api.logs import OpenLog
from esper.leyline.v1.run_pb2 import EpochFacts
from esper.leyline.v1.site_pb2 import Moment
from eventstore.oona.telemetry import OonaTelemetry

FAREWELL_S = 2.0


class Measuring(Protocol):
    """What a session tells of its steps and epochs; nothing waits for it and nothing fails because of it."""

    def step(self, at: Moment, loss: Tensor, *, latency_s: float | None, overhead_s: float, fence_s: float) -> None:
        """Tell of one optimizer step; *latency_s* is None for an epoch's first."""
        ...

    def epoch(self, facts: EpochFacts, *, seeds_active: int, recorded: bool) -> None:
        """Tell of an epoch that has ended, and whether the log has acknowledged it."""
        ...

    def close(self) -> None:
        """Send what waits, at most for a moment."""
        ...


class Unmeasured:
    """Publishes nothing."""

    def step(self, at: Moment, loss: Tensor, *, latency_s: float | None, overhead_s: float, fence_s: float) -> None:
        """Do nothing."""

    def epoch(self, facts: EpochFacts, *, seeds_active: int, recorded: bool) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class Measured:
    """Publishes to the telemetry stream, from the background loop."""

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

    def epoch(self, facts: EpochFacts, *, seeds_active: int, recorded: bool) -> None:
        """Tell of an epoch that has ended."""
        measured = {
            "tolaria.epoch.loss": facts.train_loss,
            "tolaria.epoch.score": facts.score,
            "tolaria.epoch.unrecorded": float(not recorded),
            "tolaria.seeds.active": float(seeds_active),
        }
        self._telemetry.epoch(facts.at.step, facts.at.epoch, measured)

    def close(self) -> None:
        """Send what waits, at most for a moment; closing twice is harmless."""
        if not self._closed:
            self._closed = True
            self._loop.call(self._telemetry.finish(FAREWELL_S))


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
