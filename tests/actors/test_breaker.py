"""When a breaker opens, probes and closes; and that the log knows."""

import asyncio
from contextlib import aclosing

import pytest

from actors.breaker import BREAKER, BreakerSettings, BreakerState
from actors.clock import VirtualClock
from actors.dispatch import dispatch
from actors.guard import BreakerOpen, Guard
from actors.guarded import GuardedBus
from esper.leyline.registry import EVENTS
from esper.leyline.v1.enums_pb2 import CircuitBreakerState as State
from esper.leyline.v1.fabric_pb2 import BreakerStateChanged, ForceBreaker, ObserveBreaker
from eventstore.errors import StoreUnavailable
from eventstore.memory import MemoryBus, MemoryStore
from eventstore.store import Context, StreamName
from tests.eventstore.vocabulary import command

CLOSED, OPEN, HALF_OPEN = State.CIRCUIT_STATE_CLOSED, State.CIRCUIT_STATE_OPEN, State.CIRCUIT_STATE_HALF_OPEN
SETTINGS = BreakerSettings(failures_to_open=3, open_s=30.0, successes_to_close=2)


def seen(*, failures: int = 0, successes: int = 0, open_for_s: float = 0.0) -> ObserveBreaker:
    return ObserveBreaker(
        failures_in_a_row=failures,
        successes=successes,
        open_for_s=open_for_s,
        failures_to_open=3,
        open_s=30.0,
        successes_to_close=2,
    )


@pytest.mark.parametrize(
    ("state", "observed", "becomes"),
    [
        (CLOSED, seen(failures=2), None),
        (CLOSED, seen(failures=3), OPEN),
        (OPEN, seen(open_for_s=29.999, failures=9), None),
        (OPEN, seen(open_for_s=30.0), HALF_OPEN),
        (HALF_OPEN, seen(successes=1), None),
        (HALF_OPEN, seen(successes=2), CLOSED),
        (HALF_OPEN, seen(failures=1, successes=1), OPEN),
    ],
)
def test_what_is_seen_changes_the_state_as_the_table_says(
    state: State, observed: ObserveBreaker, becomes: State | None
):
    changes = BREAKER.decide(BreakerState(state=state), observed)
    assert [change.to_state for change in changes] == ([becomes] if becomes else [])


def test_an_operator_may_force_any_state_and_the_change_says_who_and_why():
    forced = ForceBreaker(state=OPEN, by="ann", reason="maintenance", open_s=60, forced_at_ns=10**9)
    [change] = BREAKER.decide(BreakerState(), forced)
    assert (change.to_state, change.reason, change.open_until_ns) == (OPEN, "forced by ann: maintenance", 61 * 10**9)
    assert BREAKER.decide(BreakerState(state=OPEN), forced) == []


class Patient:
    """A breaker with a log, on a clock that stands still."""

    def __init__(self) -> None:
        self.clock, self.store = VirtualClock(), MemoryStore(EVENTS)
        self.guard = self.another()

    def another(self) -> Guard:
        return Guard("urza-publish", self.store, self.clock, SETTINGS, "urza")

    async def call(self, error: BaseException | None = None) -> None:
        async with self.guard.call(StoreUnavailable):
            if error:
                raise error

    async def fail(self, times: int) -> None:
        for _ in range(times):
            with pytest.raises(StoreUnavailable, match="no answer"):
                await self.call(StoreUnavailable("sending", "no answer"))

    async def recorded(self) -> list[State]:
        events = await self.store.read_stream(StreamName("breaker", "urza-publish"))
        return [one.event.to_state for one in events if isinstance(one.event, BreakerStateChanged)]


async def test_three_failures_in_a_row_open_it_and_it_refuses_at_once_without_counting_a_failure():
    patient = Patient()
    await patient.fail(3)
    with pytest.raises(BreakerOpen, match=r"open for another 30\.0 s"):
        await patient.call()
    assert patient.guard.rejections == 1
    assert await patient.recorded() == [OPEN]


async def test_a_success_in_between_clears_the_count():
    patient = Patient()
    await patient.fail(2)
    await patient.call()
    await patient.fail(2)
    assert patient.guard.state == CLOSED


async def test_neither_cancellation_nor_another_error_is_a_failure():
    patient = Patient()
    for error in (asyncio.CancelledError(), ValueError("a bug"), ValueError("a bug")) * 2:
        with pytest.raises(type(error)):
            await patient.call(error)
    assert patient.guard.state == CLOSED


async def test_after_its_time_it_probes_and_closes():
    patient = Patient()
    await patient.fail(3)
    patient.clock.advance(30)
    await patient.call()
    assert patient.guard.state == HALF_OPEN
    await patient.call()
    assert await patient.recorded() == [OPEN, HALF_OPEN, CLOSED]


async def test_a_failed_probe_opens_it_for_a_fresh_time():
    patient = Patient()
    await patient.fail(3)
    patient.clock.advance(30)
    await patient.fail(1)
    assert patient.guard.retry_in_s == 30.0
    assert await patient.recorded() == [OPEN, HALF_OPEN, OPEN]


async def test_only_so_many_probes_are_under_way_at_once():
    patient = Patient()
    await patient.fail(3)
    patient.clock.advance(30)
    async with patient.guard.call(StoreUnavailable), patient.guard.call(StoreUnavailable):
        with pytest.raises(BreakerOpen):
            await patient.call()


@pytest.mark.parametrize(("away_s", "left_s"), [(10.0, 20.0), (40.0, 0.0)])
async def test_a_restart_takes_up_where_the_log_says(away_s: float, left_s: float):
    patient = Patient()
    await patient.fail(3)
    patient.clock.advance(away_s)
    patient.guard = patient.another()
    await patient.guard.restore()
    assert patient.guard.state == OPEN
    assert patient.guard.retry_in_s == pytest.approx(left_s)


async def force(patient: Patient, state: State, open_s: float = 0.0) -> None:
    now_ns = patient.clock.now_ns()
    forced = ForceBreaker(state=state, by="ann", reason="maintenance", open_s=open_s, forced_at_ns=now_ns)
    context = Context(command_id=f"{now_ns:032x}", command_type="force", recorded_at_ns=now_ns, actor="operator")
    await dispatch(patient.store, BREAKER, StreamName("breaker", "urza-publish"), forced, context)


async def test_a_forced_breaker_refuses_for_as_long_as_was_said_and_then_probes():
    patient = Patient()
    await patient.call()
    await force(patient, OPEN, open_s=600)
    patient.clock.advance(1)
    with pytest.raises(BreakerOpen):
        await patient.call()
    patient.clock.advance(597)
    with pytest.raises(BreakerOpen):
        await patient.call()
    patient.clock.advance(2)
    await patient.call()
    assert await patient.recorded() == [OPEN, HALF_OPEN]


async def test_a_breaker_that_is_forced_closed_lets_calls_through_again():
    patient = Patient()
    await patient.fail(3)
    await force(patient, CLOSED)
    patient.clock.advance(1)
    await patient.call()
    await patient.fail(2)
    assert patient.guard.state == CLOSED
    assert await patient.recorded() == [OPEN, CLOSED]


class Away(MemoryStore):
    """A log that does not answer for as long as it is told to."""

    away = True

    async def append(self, *given, **named):
        if self.away:
            raise StoreUnavailable("appending", "no answer")
        return await super().append(*given, **named)


async def test_changes_that_the_log_could_not_take_are_recorded_later_in_order():
    patient = Patient()
    patient.store = Away(EVENTS)
    patient.guard = patient.another()
    await patient.fail(3)
    patient.clock.advance(30)
    await patient.call()
    assert await patient.recorded() == []
    patient.store.away = False
    await patient.call()
    assert await patient.recorded() == [OPEN, HALF_OPEN, CLOSED]


async def test_a_queue_whose_commands_keep_being_postponed_is_left_alone_for_a_while():
    store = MemoryStore(EVENTS)
    inner = MemoryBus(store)
    settings = BreakerSettings(failures_to_open=2, open_s=30.0)
    bus = GuardedBus(inner, store, VirtualClock(), "urza", settings)
    for word in ("a", "b", "c"):
        await inner.send(command(word, target="urza"))
    async with aclosing(bus.commands("urza")) as commands:
        for _ in range(2):
            await (await anext(commands)).retry_later(0.01)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(commands), 0.2)
    async with aclosing(inner.commands("urza")) as unguarded:
        assert (await anext(unguarded)).record.command.value in ("a", "b", "c")


async def test_a_send_that_keeps_failing_is_not_tried_while_open():
    store, attempts = MemoryStore(EVENTS), list[str]()

    class Mute(MemoryBus):
        async def send(self, record):
            attempts.append(record.command_id)
            raise StoreUnavailable("sending", "no answer")

    bus = GuardedBus(Mute(store), store, VirtualClock(), "urza", SETTINGS)
    for _ in range(5):
        with pytest.raises(StoreUnavailable):
            await bus.send(command())
    assert len(attempts) == 3
