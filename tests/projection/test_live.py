"""A projection file that follows a log while it is asked, rebuilt and distrusted."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from actors.projector import CATALOGUE
from esper.leyline.registry import EVENTS
from eventstore.memory import MemoryStore
from eventstore.projection.batches import Batching, batched
from eventstore.projection.declare import Catalogue
from eventstore.projection.errors import PositionNotReached, QueryRefused
from eventstore.projection.live import LiveProjections, Question
from eventstore.projection.rebuild import content_hash, rebuild
from eventstore.projection.sink import Sink
from eventstore.store import EventStore, Recorded
from tests.projection.history import Telling, tell_run

COUNT = "select count(*) from events"
SOON = Batching(age_s=0.01)


@asynccontextmanager
async def following(store: EventStore, path: Path) -> AsyncIterator[LiveProjections]:
    live = await LiveProjections.open(store, path, CATALOGUE)
    follower = asyncio.create_task(live.follow(SOON))
    try:
        yield live
    finally:
        follower.cancel()
        await asyncio.wait({follower})
        await live.close()


async def head(store: EventStore) -> int:
    return (await store.identity()).last_position


async def count_events(store: EventStore) -> int:
    return len([event async for event in store.read_all()])


def hashes(path: Path) -> dict[str, str]:
    sink = Sink(path, CATALOGUE)
    try:
        return content_hash(sink.connection.cursor())
    finally:
        sink.close()


async def test_a_reader_sees_what_was_written_before_it_asked(store: MemoryStore, path: Path):
    async with following(store, path) as live:
        await tell_run(store, "e" * 32)
        found = await live.ask(Question(sql=COUNT, min_position=await head(store)))
        assert found.rows == [[await count_events(store)]]


async def test_a_position_that_does_not_come_in_time_is_a_named_error(store: MemoryStore, path: Path):
    async with following(store, path) as live:
        last = await head(store)
        await live.ask(Question(sql="select 1", min_position=last))
        with pytest.raises(PositionNotReached) as late:
            await live.ask(Question(sql="select 1", min_position=last + 1, wait_s=0.05))
        assert (late.value.asked, late.value.reached) == (last + 1, last)


async def test_the_past_is_asked_as_soon_as_it_is_there_and_the_future_is_refused(store: MemoryStore, path: Path):
    async with following(store, path) as live:
        assert (await live.ask(Question(sql="select max(position) from events", at=7))).rows == [[7]]
        with pytest.raises(PositionNotReached):
            await live.ask(Question(sql="select 1", at=await head(store) + 1, wait_s=0.05))


async def test_questions_are_answered_beside_each_other(store: MemoryStore, path: Path):
    async with following(store, path) as live:
        at_head = Question(sql=COUNT, min_position=await head(store))
        found = await asyncio.gather(*(live.ask(at_head) for _ in range(12)))
        assert {answer.rows[0][0] for answer in found} == {await count_events(store)}


async def test_a_refused_question_leaves_the_projections_at_work(store: MemoryStore, path: Path):
    async with following(store, path) as live:
        with pytest.raises(QueryRefused):
            await live.ask(Question(sql="delete from events"))
        assert (await live.ask(Question(sql="select 1", min_position=await head(store)))).rows == [[1]]


async def test_a_rebuild_between_writes_and_questions_loses_and_doubles_nothing(store: MemoryStore, path: Path):
    async with following(store, path) as live, asyncio.TaskGroup() as group:
        group.create_task(tell_run(store, "1" * 32))
        rebuilt = [group.create_task(live.rebuild()) for _ in range(2)]
        group.create_task(tell_run(store, "2" * 32))
        for _ in range(5):
            assert (await live.ask(Question(sql="select count(*) > 0 from events", min_position=1))).rows == [[True]]
        await asyncio.wait(rebuilt)
        await tell_run(store, "3" * 32)
        found = await live.ask(Question(sql=COUNT, min_position=await head(store)))
        assert found.rows == [[await count_events(store)]]
    await rebuild(store, path.with_name("fresh.duckdb"), CATALOGUE)
    assert hashes(path) == hashes(path.with_name("fresh.duckdb"))


async def test_a_replaced_log_halts_the_projections_which_go_on_answering(store: MemoryStore, path: Path):
    await rebuild(store, path, CATALOGUE)
    other = MemoryStore(EVENTS)
    await tell_run(other, "e" * 32)
    async with following(other, path) as live:
        found = await live.ask(Question(sql="select run_id from run_summary", min_position=10**6))
        assert found.rows == [["f" * 32]]
        assert found.halted is not None
        assert (found.halted.fault, found.halted.position) == ("LogReplaced", live.checkpoint.position)
        assert "not the log of the checkpoint" in found.halted.detail


async def test_a_rebuild_on_purpose_takes_over_the_new_log(store: MemoryStore, path: Path):
    await rebuild(store, path, CATALOGUE)
    other = MemoryStore(EVENTS)
    await tell_run(other, "e" * 32)
    async with following(other, path) as live:
        await live.ask(Question(sql="select 1", min_position=10**6))
        await live.rebuild()
        await tell_run(other, "d" * 32)
        found = await live.ask(Question(sql="select run_id from run_summary", min_position=await head(other)))
        assert (found.rows, found.halted) == ([["e" * 32], ["d" * 32]], None)


class Held(MemoryStore):
    """A log whose reading waits until it is let go."""

    def __init__(self) -> None:
        super().__init__(EVENTS)
        self.free = asyncio.Event()

    async def read_all(self, *, after: int = 0, until: int | None = None) -> AsyncGenerator[Recorded, None]:
        await self.free.wait()
        async for recorded in super().read_all(after=after, until=until):
            yield recorded


async def test_a_file_of_an_older_version_answers_while_its_successor_is_built(path: Path):
    store = Held()
    await tell_run(store)
    store.free.set()
    await rebuild(store, path, Catalogue((CATALOGUE.projections[0],)))
    store.free.clear()
    async with following(store, path) as live:
        await live.ask(Question(sql="select 1", min_position=10**6))
        old = await live.ask(Question(sql=COUNT))
        assert old.rows == [[await count(store)]]
        assert old.halted is not None
        assert old.halted.fault == "ProjectionsOutdated"
        with pytest.raises(QueryRefused, match="gate_checks"):
            await live.ask(Question(sql="select count(*) from gate_checks"))
        store.free.set()
        await until_followed(live)
        new = await live.ask(Question(sql="select count(*) > 0 from gate_checks", min_position=await head(store)))
        assert (new.rows, new.halted) == ([[True]], None)


async def count(store: Held) -> int:
    return len([event async for event in MemoryStore.read_all(store)])


async def until_followed(live: LiveProjections) -> None:
    async with asyncio.timeout(30):
        while (await live.ask(Question(sql="select 1"))).halted is not None:
            pass


async def collect(events: AsyncGenerator[Recorded, None], batching: Batching) -> list[list[Recorded]]:
    async with aclosing(batched(events, batching)) as batches:
        return [batch async for batch in batches]


async def test_a_full_batch_ends_with_a_whole_commit(store: MemoryStore):
    batches = await collect(store.read_all(), Batching(events=3, age_s=60))
    assert all(before[-1].position < after[0].position for before, after in pairwise(batches))
    assert all(len(batch) >= 3 for batch in batches[:-1])


async def test_a_slow_log_is_written_before_a_batch_is_full():
    store = MemoryStore(EVENTS)
    async with aclosing(batched(store.follow(), Batching(events=1000, age_s=0.01))) as batches:
        await Telling(store, "a" * 32).decide(1, 1, "s0", "")
        assert len(await anext(batches)) == 1


async def test_closing_batches_closes_what_they_are_read_from():
    closed: list[bool] = []

    async def endless(wait: Callable[[], Awaitable[object]]) -> AsyncGenerator[Recorded, None]:
        try:
            while True:
                await wait()
                yield  # type: ignore[misc]
        finally:
            closed.append(True)

    batches = batched(endless(asyncio.Event().wait), SOON)
    reading = asyncio.create_task(anext(batches))
    await asyncio.wait({reading}, timeout=0.01)
    reading.cancel()
    await asyncio.wait({reading})
    assert closed == [True]
