"""A breaker at work on one path: lets calls through, counts how they went, and records its changes in the log."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from random import SystemRandom

from actors.breaker import BREAKER, BreakerSettings, BreakerState
from actors.clock import Clock
from actors.dispatch import dispatch, load
from actors.ids import new_id
from actors.logs import logger
from esper.leyline.v1.enums_pb2 import CircuitBreakerState as State
from esper.leyline.v1.fabric_pb2 import ObserveBreaker
from eventstore.errors import StoreUnavailable
from eventstore.store import Context, EventStore, StreamName

REFRESH_S = 1.0


class BreakerOpen(StoreUnavailable):
    """The call was not made: this path failed too often lately. Nothing happened; try again after `retry_in_s`."""

    def __init__(self, name: str, retry_in_s: float) -> None:
        self.name, self.retry_in_s = name, retry_in_s
        super().__init__(f"passing breaker {name}", f"it is open for another {retry_in_s:.1f} s")


class Guard:
    """One breaker, for one event loop. A change takes effect at once and is recorded as soon as the log answers.

    An operator who forces it writes to the log; the guard looks there at most once in `REFRESH_S` seconds.
    """

    def __init__(self, name: str, store: EventStore, clock: Clock, settings: BreakerSettings, actor: str) -> None:
        self._stream, self._store, self._clock = StreamName("breaker", name), store, clock
        self._settings, self._actor = settings, actor
        self._now, self._version = BreakerState(), 0
        self._unrecorded: list[tuple[ObserveBreaker, Context]] = []
        self._failures = self._successes = self._under_way = 0
        self._opened_at_s, self._open_s = 0.0, settings.open_s
        self._looked_at_s = 0.0
        self.rejections = 0

    @property
    def state(self) -> State:
        """How it stands."""
        return self._now.state

    async def restore(self) -> None:
        """Take up where the log says that this breaker is, also if its time to be open is over by now."""
        self._looked_at_s = self._clock.monotonic_s()
        now, version = await load(self._store, BREAKER, self._stream)
        if version == self._version:
            return
        self._now, self._version = now, version
        self._failures = self._successes = 0
        # Wall time may have jumped meanwhile: never stay open for longer than was decided.
        self._open_s = now.open_s or self._settings.open_s
        left_s = (now.open_until_ns - self._clock.now_ns()) / 1e9
        self._opened_at_s = self._clock.monotonic_s() - (self._open_s - max(0.0, min(left_s, self._open_s)))

    async def refresh(self) -> None:
        """Take up what others recorded of this breaker; without the log, go on with what is known."""
        if self._unrecorded or self._clock.monotonic_s() - self._looked_at_s < REFRESH_S:
            return
        try:
            await self.restore()
        except StoreUnavailable:
            return

    @property
    def retry_in_s(self) -> float:
        """How long it stays open; 0 when it is not."""
        if self._now.state != State.CIRCUIT_STATE_OPEN:
            return 0.0
        return max(0.0, self._open_s - (self._clock.monotonic_s() - self._opened_at_s))

    @asynccontextmanager
    async def call(self, *failures: type[Exception]) -> AsyncGenerator[None]:
        """Run a block that fails with one of *failures*; any other error, and cancellation, counts as nothing.

        Raises:
            BreakerOpen: the block was not run.
        """
        await self.refresh()
        self._admit()
        try:
            yield
        except failures as error:
            self.failed(str(error))
            raise
        else:
            self.succeeded()
        finally:
            self._under_way -= 1
            await self.record()

    async def until_closed_enough(self) -> None:
        """Return when a call would be let through; sleeps meanwhile."""
        while (wait_s := self.retry_in_s) > 0.0:
            await asyncio.sleep(min(wait_s, REFRESH_S))
            await self.refresh()
        await self.refresh()
        self._observe("")
        await self.record()

    def succeeded(self) -> None:
        """Count a success."""
        self._failures, self._successes = 0, self._successes + 1
        self._observe("")

    def failed(self, why: str) -> None:
        """Count a failure."""
        self._failures += 1
        self._observe(why)

    async def record(self) -> None:
        """Record the changes that are not in the log yet, in order; those that cannot be now are kept for later."""
        while self._unrecorded:
            observed, context = self._unrecorded[0]
            try:
                appended = await dispatch(self._store, BREAKER, self._stream, observed, context)
            except StoreUnavailable:
                return
            if appended is not None:
                self._version = max(self._version, appended.events[-1].version)
            self._unrecorded.pop(0)

    def _admit(self) -> None:
        self._observe("")
        probing = self._now.state == State.CIRCUIT_STATE_HALF_OPEN
        if self.retry_in_s > 0.0 or (probing and self._under_way >= self._settings.successes_to_close):
            self.rejections += 1
            raise BreakerOpen(self._stream.aggregate_id, self.retry_in_s)
        self._under_way += 1

    def _observe(self, why: str) -> None:
        observed = ObserveBreaker(
            failures_in_a_row=self._failures,
            successes=self._successes,
            open_for_s=self._clock.monotonic_s() - self._opened_at_s,
            last_failure=why,
            failures_to_open=self._settings.failures_to_open,
            open_s=self._settings.open_s if self._now.state != State.CIRCUIT_STATE_OPEN else self._open_s,
            successes_to_close=self._settings.successes_to_close,
            observed_at_ns=self._clock.now_ns(),
        )
        changes = BREAKER.decide(self._now, observed)
        if not changes:
            return
        self._now = BREAKER.fold(changes, self._now)
        self._failures = self._successes = 0
        if self._now.state == State.CIRCUIT_STATE_OPEN:
            self._opened_at_s, self._open_s = self._clock.monotonic_s(), self._settings.open_s
        logger(self._actor).warning("breaker", name=self._stream.aggregate_id, reason=changes[0].reason)
        context = Context(
            command_id=new_id(self._clock, SystemRandom()),
            command_type=ObserveBreaker.DESCRIPTOR.full_name,
            recorded_at_ns=self._clock.now_ns(),
            actor=self._actor,
        )
        self._unrecorded.append((observed, context))
