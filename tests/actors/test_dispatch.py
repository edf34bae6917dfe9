"""One command, one answer, whoever else writes and however often it is delivered."""

import random
from collections.abc import Sequence
from random import Random

import pytest
from google.protobuf.message import Message
from opentelemetry import trace

from actors.clock import VirtualClock
from actors.dispatch import DECISIONS_AT_MOST, AggregateCache, dispatch, load
from actors.ids import new_id
from actors.tracing import span
from esper.leyline.decider import Decider, RuleBroken
from esper.leyline.registry import EVENTS
from esper.leyline.v1.actor_pb2 import ActorStarted, StartActor
from eventstore.errors import StreamMovedOn
from eventstore.memory import MemoryStore
from eventstore.store import Appended, Context, StreamName

STREAM = StreamName("actor", "door")
RANDOM, CLOCK = Random(7), VirtualClock()


def decide(openings: int, command: StartActor) -> list[ActorStarted]:
    if command.host == "forbidden":
        raise RuleBroken("forbidden")
    if command.host == "closed after the first":
        return [ActorStarted(epoch=1)] if openings == 0 else []
    return [ActorStarted(epoch=openings + 1)]


DOOR: Decider[int, StartActor, ActorStarted] = Decider("Door", 0, decide, lambda openings, event: openings + 1)


def context(command_id: str = "") -> Context:
    return Context(
        command_id=command_id or new_id(CLOCK, RANDOM),
        command_type="StartActor",
        recorded_at_ns=CLOCK.now_ns(),
        actor="test",
    )


async def knock(
    store: MemoryStore, cache: AggregateCache | None = None, command_id: str = "", host: str = ""
) -> Appended | None:
    return await dispatch(store, DOOR, STREAM, StartActor(host=host), context(command_id), cache=cache)


def epochs(appended: Appended | None) -> list[int]:
    assert appended is not None
    return [recorded.event.epoch for recorded in appended.events if isinstance(recorded.event, ActorStarted)]


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(EVENTS)


async def test_a_command_is_decided_upon_the_folded_history(store: MemoryStore):
    assert [epochs(await knock(store)) for _ in range(3)] == [[1], [2], [3]]
    assert await load(store, DOOR, STREAM) == (3, 3)


@pytest.mark.parametrize("cache", [None, AggregateCache()], ids=["uncached", "cached"])
async def test_a_command_that_was_answered_gets_its_recorded_answer(store: MemoryStore, cache: AggregateCache | None):
    first = await knock(store, cache, "aa" * 16)
    await knock(store, cache)
    again = await knock(store, cache, "aa" * 16)
    assert first is not None
    assert again is not None
    assert (again.duplicate, again.events) == (True, first.events)
    assert (await load(store, DOOR, STREAM))[1] == 2


async def test_an_answered_command_is_not_refused_by_what_happened_since(store: MemoryStore):
    await knock(store, None, "aa" * 16, "closed after the first")
    behind = AggregateCache()
    await behind.caught_up(store, DOOR, STREAM)
    again = await knock(store, behind, "aa" * 16, "closed after the first")
    assert epochs(again) == [1]


async def test_nothing_to_record_is_no_event(store: MemoryStore):
    await knock(store)
    assert await knock(store, host="closed after the first") is None


async def test_a_stale_fold_decides_again_upon_the_real_state(store: MemoryStore):
    stale = AggregateCache()
    await knock(store, stale)
    await knock(store, AggregateCache())
    assert epochs(await knock(store, stale)) == [3]


async def test_a_refusal_reaches_the_caller_and_writes_nothing(store: MemoryStore):
    with pytest.raises(RuleBroken, match="forbidden"):
        await knock(store, host="forbidden")
    assert (await load(store, DOOR, STREAM))[1] == 0


class OutpacedStore(MemoryStore):
    """A store on which somebody else is always faster."""

    appends = 0

    async def append(
        self, stream: StreamName, events: Sequence[Message], *, expected: int, context: Context
    ) -> Appended:
        self.appends += 1
        faster = Context(command_id=new_id(CLOCK, RANDOM), command_type="", recorded_at_ns=1, actor="other")
        await super().append(stream, [ActorStarted()], expected=expected, context=faster)
        return await super().append(stream, events, expected=expected, context=context)


async def test_a_writer_that_is_always_outpaced_gives_up():
    store = OutpacedStore(EVENTS)
    with pytest.raises(StreamMovedOn):
        await knock(store, AggregateCache())
    assert store.appends == DECISIONS_AT_MOST


async def test_a_recorded_event_knows_its_trace(store: MemoryStore):
    with span("command") as outer:
        appended = await knock(store)
    assert appended is not None
    assert f"{outer.get_span_context().trace_id:032x}" in appended.events[0].context.traceparent
    assert not trace.get_current_span().get_span_context().is_valid


async def test_a_full_cache_forgets_the_stream_used_longest_ago(store: MemoryStore):
    cache = AggregateCache(capacity=1)
    await knock(store, cache)
    await dispatch(store, DOOR, StreamName("actor", "gate"), StartActor(), context(), cache=cache)
    assert cache.get(DOOR, STREAM) is None
    assert epochs(await knock(store, cache)) == [2]


async def test_recording_draws_nothing_from_the_random_stream_of_a_training(store: MemoryStore):
    before = random.getstate()
    await knock(store)
    assert random.getstate() == before
