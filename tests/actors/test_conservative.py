"""When the fabric becomes conservative and when it is at ease again; and that the log knows."""

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from pathlib import Path

import pytest

from actors.breaker import BREAKER
from actors.clock import SystemClock, VirtualClock
from actors.conservative import MODE, Mode
from actors.dispatch import dispatch
from actors.place import Place
from actors.pressure import FabricLimits
from actors.watch import STREAM, FabricState, FabricWatch, ask_fabric
from esper.leyline.registry import COMMANDS, EVENTS
from esper.leyline.v1.enums_pb2 import CircuitBreakerState
from esper.leyline.v1.fabric_pb2 import (
    BreakerStateChanged,
    ConservativeModeEntered,
    ConservativeModeLeft,
    ForceBreaker,
    ObserveFabric,
)
from eventstore.errors import StoreUnavailable
from eventstore.oona import Oona, open_log
from eventstore.oona.lag import Lag
from eventstore.oona.server import LocalServer
from eventstore.store import StreamName
from tests.actors.workshop import kernel_spec, request
from tests.eventstore.vocabulary import context

OPEN = CircuitBreakerState.CIRCUIT_STATE_OPEN


def seen(depth: int = 0, *, calm_for_s: float = 0.0, breakers: Iterable[str] = ()) -> ObserveFabric:
    return ObserveFabric(
        depth=depth,
        deepest="ESPER_TELEMETRY/telemetry",
        open_breakers=breakers,
        calm_for_s=calm_for_s,
        enter_depth=4_000,
        recover_depth=1_000,
        calm_needed_s=60.0,
        observed_at_ns=7,
    )


AT_EASE, CONSERVATIVE = Mode(), Mode(conservative=True, reason="deep", since_ns=1, times=1)


@pytest.mark.parametrize(
    ("given", "when", "then"),
    [
        (AT_EASE, seen(3_999), None),
        (AT_EASE, seen(4_000), ConservativeModeEntered),
        (AT_EASE, seen(breakers=["urza-publish"]), ConservativeModeEntered),
        (CONSERVATIVE, seen(9_000), None),
        (CONSERVATIVE, seen(4_000), None),
        (CONSERVATIVE, seen(1_001, calm_for_s=99.0), None),
        (CONSERVATIVE, seen(0, calm_for_s=59.999), None),
        (CONSERVATIVE, seen(0, calm_for_s=99.0, breakers=["urza-publish"]), None),
        (CONSERVATIVE, seen(1_000, calm_for_s=60.0), ConservativeModeLeft),
    ],
)
def test_the_mode_changes_as_the_table_says(given: Mode, when: ObserveFabric, then: type | None):
    assert [type(event) for event in MODE.decide(given, when)] == ([then] if then else [])


def test_entering_says_why_how_deep_and_where():
    [entered] = MODE.decide(AT_EASE, seen(4_321, breakers=["forge-consume"]))
    assert entered == ConservativeModeEntered(
        reason="ESPER_TELEMETRY/telemetry is 4,321 messages behind; breaker forge-consume is open",
        depth=4_321,
        deepest="ESPER_TELEMETRY/telemetry",
        entered_at_ns=7,
    )


def test_the_state_is_a_fold_of_the_changes():
    entered, left = ConservativeModeEntered(reason="deep", entered_at_ns=1), ConservativeModeLeft(left_at_ns=9)
    assert MODE.fold([entered]) == CONSERVATIVE
    assert MODE.fold([entered, left, entered]) == Mode(conservative=True, reason="deep", since_ns=1, times=2)


@pytest.fixture
async def log(tmp_path: Path, nats_server: LocalServer) -> AsyncGenerator[Oona, None]:
    place = Place.at(tmp_path, {})
    async with open_log(nats_server.url, keys=place.keys, types=EVENTS, commands=COMMANDS) as log:
        yield log


def behind(depth: int, reader: str = "telemetry") -> list[Lag]:
    return [Lag(stream="ESPER_TELEMETRY", reader=reader, depth=depth)]


async def changes(log: Oona) -> list[type]:
    return [type(recorded.event) for recorded in await log.store.read_stream(STREAM)]


async def test_it_holds_on_until_it_was_calm_for_a_minute_without_a_break(log: Oona):
    clock = VirtualClock()
    watch = FabricWatch(log, clock)
    for depth, pause_s in ((4_000, 1), (900, 50), (1_001, 1), (900, 59), (900, 0.9)):
        await watch.observe(behind(depth))
        clock.advance(pause_s)
    await watch.observe(behind(900))
    assert (watch.mode.conservative, await changes(log)) == (True, [ConservativeModeEntered])
    clock.advance(0.1)
    await watch.observe(behind(900))
    assert (watch.mode.conservative, await changes(log)) == (False, [ConservativeModeEntered, ConservativeModeLeft])


async def test_a_queue_that_nobody_of_the_stack_reads_changes_nothing(log: Oona):
    watch = FabricWatch(log, VirtualClock())
    await watch.observe(behind(10**6, "somebody-elses"))
    assert (watch.mode.conservative, watch.state.depth) == (False, 0)


async def test_a_watch_that_starts_again_finds_the_mode_in_the_log(log: Oona):
    await FabricWatch(log, VirtualClock()).observe(behind(5_000))
    again = FabricWatch(log, VirtualClock())
    await again.restore()
    await again.observe(behind(2_000))
    assert (again.mode.conservative, again.mode.times) == (True, 1)


async def test_an_open_breaker_on_a_critical_path_counts_until_its_time_is_over(log: Oona):
    clock = VirtualClock()
    watch = FabricWatch(log, clock)
    change = BreakerStateChanged(to_state=OPEN, open_until_ns=clock.now_ns() + 30 * 10**9)
    watch.heed_breaker("urza-query", change)
    await watch.observe([])
    assert not watch.mode.conservative
    watch.heed_breaker("urza-publish", change)
    await watch.observe([])
    assert watch.mode.reason == "breaker urza-publish is open"
    clock.advance(31)
    await watch.observe([])
    clock.advance(60)
    await watch.observe([])
    assert not watch.mode.conservative


async def test_a_breaker_that_opened_while_nobody_watched_is_found_in_the_log(log: Oona):
    clock = SystemClock()
    forced = ForceBreaker(state=OPEN, by="ann", reason="test", open_s=60, forced_at_ns=clock.now_ns())
    await dispatch(log.store, BREAKER, StreamName("breaker", "urza-publish"), forced, context())
    watch = FabricWatch(log, clock)
    await watch.restore()
    assert watch.state.open_breakers == ("urza-publish",)


async def test_while_the_fabric_is_conservative_commands_and_events_flow_as_ever(log: Oona):
    await FabricWatch(log, VirtualClock()).observe(behind(9_999))
    await request(log.bus, kernel_spec("BP001"))
    async with asyncio.timeout(10), aclosing(log.bus.commands("urza")) as commands:
        assert (await anext(commands)).record.command.DESCRIPTOR.name == "RequestKernel"
    appended = await log.store.append(StreamName("run", "r1"), [BreakerStateChanged()], expected=0, context=context())
    assert appended.events[0].version == 1


async def test_the_watch_measures_a_real_queue_and_tells_who_asks(log: Oona):
    async with aclosing(log.telemetry.heard("telemetry")) as hearing:
        publisher = log.telemetry.publisher()
        for _ in range(50):
            publisher.offer("esper.tel.tolaria.r1", b"x", 2)
        await publisher.drain(5.0)
        await anext(hearing)
    limits = FabricLimits(enter_depth=50, sample_s=0.01)
    watching = asyncio.create_task(FabricWatch(log, SystemClock(), limits=limits).run())
    try:
        async with asyncio.timeout(20):
            while not (state := await asked(log)) or not state.conservative:  # noqa: ASYNC110 - asking is the event
                await asyncio.sleep(0)
    finally:
        watching.cancel()
        await asyncio.wait([watching])
    assert (state.depth, state.deepest) == (50, "ESPER_TELEMETRY/telemetry")
    assert await changes(log) == [ConservativeModeEntered]


async def asked(log: Oona) -> FabricState | None:
    try:
        return await ask_fabric(log.bus)
    except StoreUnavailable:
        return None
