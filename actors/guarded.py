"""A bus whose paths each have a breaker: sending, asking, and each queue that is read."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from actors.breaker import BreakerSettings
from actors.clock import Clock
from actors.guard import Guard
from actors.place import Bus, Fabric
from eventstore.errors import StoreUnavailable
from eventstore.oona.dead import DeadLetters
from eventstore.oona.sweeping import SettledCommands
from eventstore.oona.telemetry import OonaTelemetry
from eventstore.store import (
    DELIVERIES_AT_MOST,
    AlarmBus,
    CommandDelivery,
    CommandRecord,
    EventDelivery,
    EventStore,
    Request,
)

PATHS = ("publish", "query", "consume")


class GuardedBus:
    """A `Bus` for one actor. A path that keeps failing is left alone for a while, and says so with `BreakerOpen`.

    Commands stay in their queue meanwhile: a consumer behind an open breaker pulls nothing.
    """

    def __init__(
        self, bus: Bus, store: EventStore, clock: Clock, actor: str, settings: BreakerSettings | None = None
    ) -> None:
        self._bus, self._store, self._clock, self._actor = bus, store, clock, actor
        self._settings = settings or BreakerSettings()
        self._guards: dict[str, Guard] = {}

    async def send(self, record: CommandRecord) -> None:
        """Put *record* in its target's queue; see `CommandBus.send`."""
        guard = await self._guard("publish")
        async with guard.call(StoreUnavailable):
            await self._bus.send(record)

    async def ask(self, subject: str, request: bytes, *, timeout_s: float) -> bytes:
        """Return the answer of whoever serves *subject*; see `QueryBus.ask`."""
        guard = await self._guard("query")
        async with guard.call(StoreUnavailable):
            return await self._bus.ask(subject, request, timeout_s=timeout_s)

    async def commands(
        self, target: str, *, ack_wait_s: float = 60.0, deliveries_at_most: int = DELIVERIES_AT_MOST
    ) -> AsyncGenerator[CommandDelivery, None]:
        """Yield the commands for *target*; see `CommandBus.commands`. One that its actor postpones is a failure."""
        guard = await self._guard("consume")
        commands = self._bus.commands(target, ack_wait_s=ack_wait_s, deliveries_at_most=deliveries_at_most)
        async with aclosing(commands) as deliveries:
            while True:
                await guard.until_closed_enough()
                yield WatchedDelivery(await anext(deliveries), guard)

    def events(self, name: str, aggregates: Sequence[str]) -> AsyncGenerator[EventDelivery, None]:
        """Yield every commit of *aggregates*; unguarded: a reactor may not pass over one, so it waits by itself."""
        return self._bus.events(name, aggregates)

    def requests(self, subject: str) -> AsyncGenerator[Request, None]:
        """Yield requests to *subject*."""
        return self._bus.requests(subject)

    async def _guard(self, path: str) -> Guard:
        guard = self._guards.get(path)
        if guard is None:
            guard = Guard(f"{self._actor}-{path}", self._store, self._clock, self._settings, self._actor)
            await guard.restore()
            guard = self._guards.setdefault(path, guard)
        return guard


class GuardedLog:
    """An actor's own view of the fabric: the same log, its bus behind breakers that carry the actor's name."""

    def __init__(self, fabric: Fabric, clock: Clock, actor: str) -> None:
        self._fabric = fabric
        self.bus = GuardedBus(fabric.bus, fabric.store, clock, actor)

    @property
    def store(self) -> EventStore:
        """The record; an append is retried by who decides, and needs no breaker."""
        return self._fabric.store

    @property
    def alarms(self) -> AlarmBus:
        """The lane for emergencies, which has no breaker."""
        return self._fabric.alarms

    @property
    def dead(self) -> DeadLetters:
        """What was given up."""
        return self._fabric.dead

    @property
    def settled(self) -> SettledCommands:
        """What was carried out."""
        return self._fabric.settled

    @property
    def telemetry(self) -> OonaTelemetry:
        """The lane for telemetry; what is shed there is no breaker's failure."""
        return self._fabric.telemetry

    @property
    def durable(self) -> bool:
        """Whether the server syncs every write before it acknowledges it."""
        return self._fabric.durable


class WatchedDelivery:
    """A delivered command whose end tells its queue's breaker how it went."""

    def __init__(self, delivery: CommandDelivery, guard: Guard) -> None:
        self._delivery, self._guard = delivery, guard

    @property
    def record(self) -> CommandRecord:
        """The command."""
        return self._delivery.record

    @property
    def attempt(self) -> int:
        """1 for the first delivery."""
        return self._delivery.attempt

    async def ack(self) -> None:
        """It is done: a success."""
        await self._delivery.ack()
        self._guard.succeeded()
        await self._guard.record()

    async def retry_later(self, delay_s: float) -> None:
        """It could not be done now: a failure."""
        await self._delivery.retry_later(delay_s)
        self._guard.failed(f"attempt {self.attempt} at {self.record.command.DESCRIPTOR.name} was postponed")
        await self._guard.record()

    async def in_progress(self) -> None:
        """Still at work."""
        await self._delivery.in_progress()

    async def dead_letter(self, error: str) -> None:
        """Give it up. That says something about the message, and nothing about its consumer."""
        await self._delivery.dead_letter(error)
