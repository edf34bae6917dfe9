"""An emergency is heard whatever else waits, and a flood of them is counted, not lost."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from random import SystemRandom

import pytest

from actors.clock import SystemClock, VirtualClock
from actors.emergency import EMERGENCY, Bucket, FloodGuard, raise_emergency
from actors.guarded import GuardedLog
from actors.hosting import alarmed
from actors.ids import new_id
from actors.place import Place
from actors.roster import entry
from esper.leyline.registry import COMMANDS, EVENTS
from esper.leyline.v1.enums_pb2 import CircuitBreakerState, EmergencyLevel
from esper.leyline.v1.fabric_pb2 import (
    BreakerStateChanged,
    EmergenciesCoalesced,
    EmergencyRaised,
    RaiseEmergency,
)
from eventstore.errors import LogCorrupt
from eventstore.oona import Oona, open_log
from eventstore.oona.server import LocalServer
from eventstore.store import Context, StreamName
from tests.actors.workshop import kernel_spec, request

HALT = EmergencyLevel.EMERGENCY_LEVEL_HALT
URZA = StreamName("emergency", "urza")


@pytest.fixture
async def log(tmp_path: Path, nats_server: LocalServer) -> AsyncGenerator[Oona, None]:
    place = Place.at(tmp_path, {})
    async with open_log(nats_server.url, keys=place.keys, types=EVENTS, commands=COMMANDS) as log:
        yield log


async def alarm(log: Oona | GuardedLog, many: int = 1) -> None:
    clock = SystemClock()
    for number in range(many):
        emergency = RaiseEmergency(
            level=HALT, source="urza", reason="LogCorrupt", detail=f"number {number}", raised_at_ns=1_000 + number
        )
        await raise_emergency(log.alarms, clock, new_id(clock, SystemRandom()), emergency)


async def heard(log: Oona, many: int, **settings: float) -> list[object]:
    """Let a warden listen until it has recorded *many* events about urza; return what they say."""
    seen: list[object] = []
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        guard = group.create_task(FloodGuard(log, SystemClock(), **settings).run())
        async with aclosing(log.store.follow()) as events:
            async for recorded in events:
                if recorded.stream == URZA:
                    seen.append(recorded.event)
                if len(seen) == many:
                    break
        guard.cancel()
    return seen


def test_a_bucket_lets_its_fill_through_at_once_and_then_refills_continuously():
    bucket, through = Bucket(per_minute=2.0, tokens=2.0), list[bool]()
    for now_s in (0.0, 0.0, 0.0, 29.9, 30.0, 30.0):
        had, bucket = bucket.taken(now_s)
        through.append(had)
    assert through == [True, True, False, False, True, False]


def test_an_emergency_is_never_refused_by_the_rules_and_all_are_counted():
    events = [EmergencyRaised(), EmergenciesCoalesced(count=40)]
    assert EMERGENCY.fold(events).raised == 41


async def test_an_emergency_is_heard_before_the_commands_that_wait_are_even_looked_at(log: Oona):
    for seed in range(20):
        await request(log.bus, kernel_spec("BP001", init_seed=seed))
    await alarm(log)
    [raised] = await heard(log, 1)
    assert raised == EmergencyRaised(
        level=HALT, source="urza", reason="LogCorrupt", detail="number 0", raised_at_ns=1_000
    )


async def test_a_flood_is_recorded_in_part_one_by_one_and_the_rest_as_a_count(log: Oona):
    await alarm(log, many=30)
    *alone, counted = await heard(log, 6, per_minute=5.0, every_s=0.5)
    assert [event.detail for event in alone if isinstance(event, EmergencyRaised)] == [f"number {n}" for n in range(5)]
    assert counted == EmergenciesCoalesced(
        reason="LogCorrupt", count=25, first_raised_at_ns=1_005, last_raised_at_ns=1_029, last_detail="number 29"
    )


async def test_what_was_held_when_the_warden_died_is_given_to_the_next(log: Oona):
    await alarm(log, many=3)
    async with asyncio.timeout(20), aclosing(log.alarms.alarms("warden", ack_wait_s=0.1)) as dying:
        assert [(await anext(dying)).attempt for _ in range(3)] == [1, 1, 1]
    said = await heard(log, 3, ack_wait_s=0.1)
    assert sorted(event.detail for event in said if isinstance(event, EmergencyRaised)) == [
        "number 0",
        "number 1",
        "number 2",
    ]


async def test_an_open_breaker_does_not_hold_up_an_emergency(log: Oona):
    clock = VirtualClock(SystemClock().now_ns())
    opened = BreakerStateChanged(
        to_state=CircuitBreakerState.CIRCUIT_STATE_OPEN, open_until_ns=clock.now_ns() + 30 * 10**9
    )
    context = Context(command_id="0" * 32, command_type="ForceBreaker", recorded_at_ns=1, actor="operator")
    await log.store.append(StreamName("breaker", "urza-publish"), [opened], expected=0, context=context)
    await alarm(GuardedLog(log, clock, "urza"))
    assert len(await heard(log, 1)) == 1


async def test_an_actor_that_meets_a_damaged_log_raises_an_emergency_and_still_ends(log: Oona):
    async def work() -> None:
        raise LogCorrupt(7, "signature", "the HMAC", "another")

    with pytest.raises(LogCorrupt):
        await alarmed(work(), GuardedLog(log, SystemClock(), "urza"), entry("librarian"))
    [raised] = await heard(log, 1)
    assert isinstance(raised, EmergencyRaised)
    assert (raised.reason, raised.detail) == ("LogCorrupt", "position 7: signature: expected the HMAC, found another")
