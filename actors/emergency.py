"""Emergencies: raised past every queue and breaker, recorded one by one, and counted when there are too many."""

import asyncio
from collections import defaultdict
from typing import TypeAlias, assert_never

import msgspec

from actors.clock import Clock
from actors.dispatch import dispatch
from actors.ids import derived_id
from actors.logs import logger
from actors.place import Fabric
from esper.leyline.decider import Decider
from esper.leyline.v1.enums_pb2 import EmergencyLevel
from esper.leyline.v1.fabric_pb2 import CoalesceEmergencies, EmergenciesCoalesced, EmergencyRaised, RaiseEmergency
from eventstore.store import AlarmBus, CommandDelivery, CommandRecord, Context, EventStore, StreamName

TARGET = "warden"
EmergencyCommand: TypeAlias = RaiseEmergency | CoalesceEmergencies
EmergencyEvent: TypeAlias = EmergencyRaised | EmergenciesCoalesced


class Tally(msgspec.Struct, frozen=True):
    """How many emergencies one source has raised, and how many of them were only counted."""

    raised: int = 0
    coalesced: int = 0


def decide(tally: Tally, command: EmergencyCommand) -> list[EmergencyEvent]:
    """Answer *command* with the event that says the same; an emergency is never refused."""
    match command:
        case RaiseEmergency():
            return [
                EmergencyRaised(
                    level=command.level,
                    source=command.source,
                    reason=command.reason,
                    detail=command.detail,
                    raised_at_ns=command.raised_at_ns,
                )
            ]
        case CoalesceEmergencies():
            return [
                EmergenciesCoalesced(
                    reason=command.reason,
                    count=command.count,
                    first_raised_at_ns=command.first_raised_at_ns,
                    last_raised_at_ns=command.last_raised_at_ns,
                    last_detail=command.last_detail,
                )
            ]
        case _:
            assert_never(command)


def evolve(tally: Tally, event: EmergencyEvent) -> Tally:
    """Fold one recorded fact into *tally*."""
    match event:
        case EmergencyRaised():
            return Tally(tally.raised + 1, tally.coalesced)
        case EmergenciesCoalesced(count=count):
            return Tally(tally.raised + count, tally.coalesced + count)
        case _:
            assert_never(event)


EMERGENCY: Decider[Tally, EmergencyCommand, EmergencyEvent] = Decider("Emergency", Tally(), decide, evolve)


class Bucket(msgspec.Struct, frozen=True):
    """A token bucket: so many at once, refilled continuously at so many a minute."""

    per_minute: float = 120.0
    tokens: float = 120.0
    filled_at_s: float = 0.0

    def taken(self, now_s: float) -> "tuple[bool, Bucket]":
        """Return whether there was a token to take at *now_s*, and the bucket after that."""
        tokens = min(self.per_minute, self.tokens + max(0.0, now_s - self.filled_at_s) * self.per_minute / 60.0)
        had = tokens >= 1.0
        return had, Bucket(self.per_minute, tokens - had, now_s)


async def raise_emergency(alarms: AlarmBus, clock: Clock, command_id: str, emergency: RaiseEmergency) -> None:
    """Send *emergency* to the warden.

    Raises:
        StoreUnavailable: not known whether it arrived; raise it again with the same command id.
    """
    await alarms.alarm(
        CommandRecord(
            command_id=command_id,
            target=TARGET,
            command=emergency,
            stream=StreamName("emergency", emergency.source),
            issued_at_ns=clock.now_ns(),
            issued_by=emergency.source,
        )
    )


class FloodGuard:
    """Records emergencies: the first of a flood one by one, the rest in counts. None is acknowledged before that."""

    def __init__(
        self,
        fabric: Fabric,
        clock: Clock,
        epoch: int = 0,
        *,
        per_minute: float = 120.0,
        every_s: float = 1.0,
        ack_wait_s: float = 60.0,
    ) -> None:
        self._ack_wait_s = ack_wait_s
        self._fabric, self._clock, self._epoch, self._every_s = fabric, clock, epoch, every_s
        fresh = Bucket(per_minute, per_minute, clock.monotonic_s())
        self._buckets: defaultdict[tuple[str, str], Bucket] = defaultdict(lambda: fresh)
        self._held: defaultdict[tuple[str, str], list[CommandDelivery]] = defaultdict(list)

    async def run(self) -> None:
        """Record until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._take())
            group.create_task(self._count())

    async def _take(self) -> None:
        async for delivery in self._fabric.alarms.alarms(TARGET, ack_wait_s=self._ack_wait_s):
            emergency = delivery.record.command
            if not isinstance(emergency, RaiseEmergency):
                await delivery.dead_letter(f"{type(emergency).__name__} is no emergency")
                continue
            key = (delivery.record.stream.aggregate_id, emergency.reason)
            alone, self._buckets[key] = self._buckets[key].taken(self._clock.monotonic_s())
            if alone:
                await self._record_one(delivery, emergency)
            else:
                self._held[key].append(delivery)

    async def _count(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            for key in list(self._held):
                await self._record_many(key[0], self._held.pop(key))

    async def _record_one(self, delivery: CommandDelivery, emergency: RaiseEmergency) -> None:
        logger("warden").error(
            "emergency",
            level=EmergencyLevel.Name(emergency.level),
            source=emergency.source,
            reason=emergency.reason,
            detail=emergency.detail,
        )
        await self._tell(delivery.record, emergency, delivery.record.command_id)
        await delivery.ack()

    async def _record_many(self, source: str, held: list[CommandDelivery]) -> None:
        # One that is delivered twice while it is held is one emergency.
        distinct = {delivery.record.command_id: delivery.record for delivery in held}
        emergencies = [one.command for one in distinct.values() if isinstance(one.command, RaiseEmergency)]
        moments = [one.raised_at_ns for one in emergencies]
        command = CoalesceEmergencies(
            reason=emergencies[0].reason,
            count=len(emergencies),
            first_raised_at_ns=min(moments),
            last_raised_at_ns=max(moments),
            last_detail=emergencies[-1].detail,
        )
        logger("warden").error("emergencies", source=source, reason=command.reason, count=command.count)
        await self._tell(held[0].record, command, derived_id("coalesce", *sorted(distinct)))
        for delivery in held:
            await delivery.ack()

    async def _tell(self, record: CommandRecord, command: EmergencyCommand, command_id: str) -> None:
        context = Context(
            command_id=command_id,
            command_type=command.DESCRIPTOR.full_name,
            recorded_at_ns=self._clock.now_ns(),
            actor=TARGET,
            actor_epoch=self._epoch,
            causation_id=record.causation_id,
            correlation_id=record.correlation_id,
            run_id=record.run_id,
            traceparent=record.traceparent,
        )
        await dispatch(self._store, EMERGENCY, record.stream, command, context)

    @property
    def _store(self) -> EventStore:
        return self._fabric.store
