"""What one training run measures of itself: gathered in the training thread, sent by the loop beside it."""

import asyncio
import math
from collections.abc import Mapping

import msgspec

from actors.clock import Clock
from actors.logs import logger
from actors.place import Bus
from actors.pressure import FabricLimits, Load, admits, factors
from actors.watch import FabricState, ask_fabric
from esper.leyline.canonical import canonical_bytes
from esper.leyline.v1.enums_pb2 import MessagePriority
from esper.leyline.v1.telemetry_pb2 import MetricSeries, TelemetryPacket
from eventstore.errors import StoreUnavailable
from eventstore.oona.telemetry import OonaTelemetry, SendSettings, TelemetryPublisher
from eventstore.subjects import of_telemetry

PACK_EVERY_S = 0.25
STEPS_IN_A_PACKET = 256
REPORT_EVERY_S = 10.0
NOT_MEASURED = math.nan

STEP_METRICS = (
    ("tolaria.training.loss", ""),
    ("tolaria.training.latency_ms", "ms"),
    ("tolaria.training.overhead_ms", "ms"),
    ("tolaria.fence.wait_ms", "ms"),
)


class StepMeasures(msgspec.Struct, frozen=True, gc=False):
    """One optimizer step: its loss, the time since the last one, and how much of it Esper and its fence took."""

    step: int
    epoch: int
    loss: float
    latency_ms: float
    overhead_ms: float
    fence_wait_ms: float


class RunTelemetry:
    """Publishes what a run measures. `step` and `epoch` are for the training thread: they neither wait nor fail.

    Steps are packed, so that most cost no more than a look at the clock; a packet is sent when it is full, or old, or
    when the epoch ends.
    """

    def __init__(
        self,
        lane: OonaTelemetry,
        bus: Bus,
        run_id: str,
        clock: Clock,
        *,
        limits: FabricLimits | None = None,
        settings: SendSettings | None = None,
    ) -> None:
        """Measure for *run_id*; to be made on the event loop that `run` will be awaited on."""
        self._bus, self._run_id, self._clock = bus, run_id, clock
        self._limits, self._settings = limits or FabricLimits(), settings or SendSettings()
        self._fabric = FabricState(depth=0)
        self._running: asyncio.Task[None] | None = None
        self._steps: list[StepMeasures] = []
        self._times: list[int] = []
        self._packed_at_s = clock.monotonic_s()
        self._tolaria, self._kasmina = of_telemetry("tolaria", run_id), of_telemetry("kasmina", run_id)
        self._oona = of_telemetry("oona", run_id)
        self.publisher: TelemetryPublisher = lane.publisher(self._settings)
        self.publisher.queue.admission = self._admits

    def step(self, measured: StepMeasures) -> None:
        """Note one optimizer step."""
        self._steps.append(measured)
        self._times.append(self._clock.now_ns())
        now_s = self._clock.monotonic_s()
        if now_s - self._packed_at_s >= PACK_EVERY_S or len(self._steps) >= STEPS_IN_A_PACKET:
            self._packed_at_s = now_s
            self._pack()

    def epoch(self, step: int, epoch: int, measured: Mapping[str, float]) -> None:
        """Note what was measured at an epoch's end, and send the steps before it."""
        self._pack()
        series = _series(measured)
        self._offer(self._tolaria, "tolaria", series, MessagePriority.MESSAGE_PRIORITY_NORMAL, (step, epoch))

    def seeds(
        self, step: int, epoch: int, measured: Mapping[str, float], each: Mapping[str, Mapping[str, float]]
    ) -> None:
        """Note what was measured of all seeds together at an epoch's end, and of *each* by its id."""
        series = _series(measured)
        for seed_id, own in each.items():
            series += _series(own, seed_id)
        self._offer(self._kasmina, "kasmina", series, MessagePriority.MESSAGE_PRIORITY_NORMAL, (step, epoch))

    async def run(self) -> None:
        """Send, and heed the fabric's mode and depth, until `finish`ed or cancelled."""
        self._running = asyncio.current_task()
        async with asyncio.TaskGroup() as group:
            group.create_task(self.publisher.run())
            group.create_task(self._heed())
            group.create_task(self._report())

    async def finish(self, wait_s: float) -> None:
        """End `run`, and send what waits, at most *wait_s* seconds long; say what was left out."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])
        self._pack()
        self._tell_counts()
        await self.publisher.drain(wait_s)
        counts = self.publisher.counts
        if counts.lost or counts.shed or counts.waiting:
            logger("trainer").info("telemetry is not complete", **msgspec.to_builtins(counts))

    def heed(self, fabric: FabricState) -> None:
        """Adapt to the fabric's state: from now on as much is sent and taken as its mode allows."""
        known = self._fabric.depth if fabric.depth is None else fabric.depth
        self._fabric = msgspec.structs.replace(fabric, depth=known)
        by = factors(fabric.conservative)
        self.publisher.settings = msgspec.structs.replace(
            self._settings,
            batch=max(1, int(self._settings.batch * by.batch)),
            ack_wait_s=self._settings.ack_wait_s * by.timeouts,
        )

    def _admits(self, priority: int, waiting: int) -> bool:
        fabric = self._fabric
        load = Load(
            depth=fabric.depth or 0,
            waiting=waiting,
            capacity=self._settings.capacity,
            conservative=fabric.conservative,
        )
        return admits(priority, load, self._limits)

    async def _heed(self) -> None:
        while True:
            try:
                self.heed(await ask_fabric(self._bus))
            except StoreUnavailable as unavailable:
                # What was known last holds: silence does not mean that nothing waits.
                logger("trainer").debug("the fabric's depth is unknown", why=unavailable.cause)
            await asyncio.sleep(self._limits.sample_s)

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(REPORT_EVERY_S)
            self._tell_counts()

    def _tell_counts(self) -> None:
        counts = self.publisher.counts
        told = {
            "oona.telemetry.offered": float(counts.offered),
            "oona.telemetry.stored": float(counts.stored),
            "oona.telemetry.shed": float(sum(counts.shed.values())),
            "oona.telemetry.lost": float(counts.lost),
            "oona.queue.depth": float(counts.waiting),
            "oona.conservative_mode_active": float(self._fabric.conservative),
        }
        self._offer(self._oona, "oona", _series(told), MessagePriority.MESSAGE_PRIORITY_CRITICAL, (0, 0))

    def _pack(self) -> None:
        if not self._steps:
            return
        steps, times, self._steps, self._times = self._steps, self._times, [], []
        columns = (
            [one.loss for one in steps],
            [one.latency_ms for one in steps],
            [one.overhead_ms for one in steps],
            [one.fence_wait_ms for one in steps],
        )
        packet = TelemetryPacket(
            source_subsystem="tolaria",
            run_id=self._run_id,
            steps=[one.step for one in steps],
            epochs=[one.epoch for one in steps],
            measured_at_ns=times,
            metrics=[
                MetricSeries(name=name, unit=unit, values=values)
                for (name, unit), values in zip(STEP_METRICS, columns, strict=True)
            ],
        )
        self.publisher.offer(self._tolaria, canonical_bytes(packet), MessagePriority.MESSAGE_PRIORITY_LOW)

    def _offer(
        self, subject: str, subsystem: str, series: list[MetricSeries], priority: int, at: tuple[int, int]
    ) -> None:
        packet = TelemetryPacket(
            source_subsystem=subsystem,
            run_id=self._run_id,
            steps=[at[0]],
            epochs=[at[1]],
            measured_at_ns=[self._clock.now_ns()],
            metrics=series,
        )
        self.publisher.offer(subject, canonical_bytes(packet), priority)


def _series(measured: Mapping[str, float], about: str = "") -> list[MetricSeries]:
    return [MetricSeries(name=name, values=[value], about=about) for name, value in measured.items()]
