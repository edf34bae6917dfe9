"""The fabric's watch: measures how far behind each reader is, keeps conservative mode, and tells who asks."""

import asyncio
from collections.abc import Iterable
from random import SystemRandom

import msgspec

from actors.breaker import BREAKER
from actors.clock import Clock
from actors.conservative import MODE, Mode, calls_for_it
from actors.dispatch import dispatch, load
from actors.ids import new_id
from actors.logs import logger
from actors.place import Bus, Fabric
from actors.pressure import FabricLimits, pressure
from actors.roster import ROSTER
from esper.leyline.v1.enums_pb2 import CircuitBreakerState
from esper.leyline.v1.fabric_pb2 import BreakerStateChanged, ObserveFabric
from eventstore.errors import StoreUnavailable
from eventstore.oona.lag import Lag
from eventstore.store import Context, StreamName

FABRIC = "esper.qry.fabric"
STREAM = StreamName("fabric", "mode")
BREAKER_READER = "warden-breakers"
# Asking is left out: nobody's work stops for want of an answer.
CRITICAL_PATHS = ("publish", "consume")


class FabricState(msgspec.Struct, frozen=True, kw_only=True):
    """How the fabric is: what the watch answers. `depth` is None when it could not be measured, which is not 0."""

    depth: int | None = None
    deepest: str = ""
    pressure: float | None = None
    conservative: bool = False
    reason: str = ""
    lags: tuple[Lag, ...] = ()
    open_breakers: tuple[str, ...] = ()


async def ask_fabric(bus: Bus, *, timeout_s: float = 1.0) -> FabricState:
    """Return how the fabric is.

    Raises:
        StoreUnavailable: nobody keeps watch: nothing is known, and nothing should be assumed to have changed.
    """
    return msgspec.json.decode(await bus.ask(FABRIC, b"", timeout_s=timeout_s), type=FabricState)


class FabricWatch:
    """Measures, decides, records, answers. The mode is that of the log: it changes when its event was acknowledged."""

    def __init__(self, fabric: Fabric, clock: Clock, epoch: int = 0, limits: FabricLimits | None = None) -> None:
        self._fabric, self._clock, self._epoch = fabric, clock, epoch
        self._limits = limits or FabricLimits()
        self._readers = frozenset(reader for actor in ROSTER for reader in actor.readers)
        self._open_until_ns: dict[str, int] = {}
        self._calm_since_s: float | None = None
        self._lags: tuple[Lag, ...] | None = None
        self.mode = Mode()

    async def run(self) -> None:
        """Keep watch until cancelled."""
        await self.restore()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._sample())
            group.create_task(self._follow_breakers())
            group.create_task(self._answer())

    async def restore(self) -> None:
        """Take up where the log says that the mode and the breakers are."""
        self.mode, _ = await load(self._fabric.store, MODE, STREAM)
        for actor in ROSTER:
            for path in CRITICAL_PATHS:
                name = f"{actor.aggregate_id}-{path}"
                breaker, _ = await load(self._fabric.store, BREAKER, StreamName("breaker", name))
                if breaker.state == CircuitBreakerState.CIRCUIT_STATE_OPEN:
                    self._open_until_ns[name] = breaker.open_until_ns

    @property
    def state(self) -> FabricState:
        """What there is to say now."""
        deepest = self._lags[0] if self._lags else None
        depth = None if self._lags is None else deepest.depth if deepest else 0
        return FabricState(
            depth=depth,
            deepest=deepest.name if deepest else "",
            pressure=None if depth is None else pressure(depth / self._limits.cap_depth),
            conservative=self.mode.conservative,
            reason=self.mode.reason,
            lags=self._lags or (),
            open_breakers=self._open_breakers(),
        )

    def heed_breaker(self, name: str, change: BreakerStateChanged) -> None:
        """Take in that a breaker has changed."""
        self._open_until_ns.pop(name, None)
        if change.to_state == CircuitBreakerState.CIRCUIT_STATE_OPEN and name.endswith(CRITICAL_PATHS):
            self._open_until_ns[name] = change.open_until_ns

    async def observe(self, lags: Iterable[Lag]) -> None:
        """Take in how far behind the readers are, and record what that changes.

        Raises:
            StoreUnavailable: it could not be recorded, and has not changed.
        """
        self._lags = tuple(lag for lag in lags if lag.reader in self._readers)
        observed = self._observed()
        changes = MODE.decide(self.mode, observed)
        if not changes:
            return
        context = Context(
            command_id=new_id(self._clock, SystemRandom()),
            command_type=ObserveFabric.DESCRIPTOR.full_name,
            recorded_at_ns=self._clock.now_ns(),
            actor="warden",
            actor_epoch=self._epoch,
        )
        await dispatch(self._fabric.store, MODE, STREAM, observed, context)
        self.mode, _ = await load(self._fabric.store, MODE, STREAM)
        logger("warden").warning("conservative mode", on=self.mode.conservative, reason=self.mode.reason)

    def _observed(self) -> ObserveFabric:
        deepest = self._lags[0] if self._lags else None
        observed = ObserveFabric(
            depth=deepest.depth if deepest else 0,
            deepest=deepest.name if deepest else "",
            open_breakers=self._open_breakers(),
            enter_depth=self._limits.enter_depth,
            recover_depth=self._limits.recover_depth,
            calm_needed_s=self._limits.calm_s,
            observed_at_ns=self._clock.now_ns(),
        )
        now_s = self._clock.monotonic_s()
        if calls_for_it(observed):
            self._calm_since_s = None
        elif self._calm_since_s is None:
            self._calm_since_s = now_s
        observed.calm_for_s = 0.0 if self._calm_since_s is None else now_s - self._calm_since_s
        return observed

    def _open_breakers(self) -> tuple[str, ...]:
        """Return the critical breakers that are open: one whose time is over lets probes through, though none came."""
        now_ns = self._clock.now_ns()
        return tuple(sorted(name for name, until_ns in self._open_until_ns.items() if now_ns < until_ns))

    async def _sample(self) -> None:
        while True:
            try:
                await self.observe(await self._fabric.telemetry.lags())
            except StoreUnavailable as unavailable:
                self._lags = None
                logger("warden").info("the depth is unknown", why=unavailable.cause)
            await asyncio.sleep(self._limits.sample_s)

    async def _follow_breakers(self) -> None:
        async for delivery in self._fabric.bus.events(BREAKER_READER, ("breaker",)):
            for recorded in delivery.events:
                if isinstance(recorded.event, BreakerStateChanged):
                    self.heed_breaker(recorded.stream.aggregate_id, recorded.event)
            await delivery.ack()

    async def _answer(self) -> None:
        async for request in self._fabric.bus.requests(FABRIC):
            try:
                await request.answer(msgspec.json.encode(self.state))
            except StoreUnavailable:
                # Whoever asked has met the same outage.
                continue
