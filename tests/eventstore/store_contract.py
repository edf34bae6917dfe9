"""What every event store promises; each implementation is put through all of it."""

import asyncio
from contextlib import aclosing

import msgspec
import pytest
from google.protobuf.wrappers_pb2 import BytesValue, Int64Value

from eventstore.commit import commit_id, event_id, previous_of
from eventstore.errors import CommitTooLarge, LogReplaced, StoreUnavailable, StreamMovedOn
from eventstore.store import EventStore, Recorded, StreamName
from tests.eventstore.vocabulary import OTHER, SEED, command_id, context, said, words


async def everything(store: EventStore, *, after: int = 0, until: int | None = None) -> list[Recorded]:
    return [event async for event in store.read_all(after=after, until=until)]


class EventStoreContract:
    async def test_what_was_appended_is_read_back_in_order(self, store: EventStore):
        await store.append(SEED, said("a", "b"), expected=0, context=context())
        await store.append(SEED, said("c"), expected=2, context=context())
        events = await store.read_stream(SEED)
        assert words(events) == ["a", "b", "c"]
        assert [event.version for event in events] == [1, 2, 3]
        assert [(event.position, event.index) for event in events] == [(1, 0), (1, 1), (2, 0)]

    async def test_an_append_returns_what_a_reader_will_see(self, store: EventStore):
        appended = await store.append(SEED, said("a", "b"), expected=0, context=context())
        assert list(appended.events) == list(await store.read_stream(SEED))
        assert not appended.duplicate

    async def test_the_context_travels_with_the_events(self, store: EventStore):
        given = context()
        await store.append(SEED, said("a"), expected=0, context=given)
        assert (await store.read_stream(SEED))[0].context == given

    async def test_ids_derive_from_stream_and_command(self, store: EventStore):
        given = context()
        appended = await store.append(SEED, said("a", "b"), expected=0, context=given)
        this = commit_id(SEED, given.command_id)
        assert [event.event_id for event in appended.events] == [event_id(this, 0), event_id(this, 1)]

    async def test_an_unknown_stream_is_empty(self, store: EventStore):
        assert list(await store.read_stream(StreamName("seed", "nobody"))) == []

    async def test_reading_after_a_version_leaves_out_what_came_before(self, store: EventStore):
        await store.append(SEED, said("a", "b"), expected=0, context=context())
        await store.append(SEED, said("c", "d"), expected=2, context=context())
        assert words(await store.read_stream(SEED, after_version=3)) == ["d"]
        assert words(await store.read_stream(SEED, after_version=2)) == ["c", "d"]
        assert words(await store.read_stream(SEED, after_version=4)) == []

    async def test_a_stale_writer_is_refused_and_told_the_real_version(self, store: EventStore):
        await store.append(SEED, said("a", "b"), expected=0, context=context())
        with pytest.raises(StreamMovedOn) as refusal:
            await store.append(SEED, said("c"), expected=1, context=context())
        assert (refusal.value.expected, refusal.value.actual) == (1, 2)
        assert words(await store.read_stream(SEED)) == ["a", "b"]

    async def test_a_writer_ahead_of_the_stream_is_refused(self, store: EventStore):
        with pytest.raises(StreamMovedOn) as refusal:
            await store.append(SEED, said("a"), expected=5, context=context())
        assert refusal.value.actual == 0

    async def test_the_same_command_is_recorded_once_for_ever(self, store: EventStore):
        given = context()
        first = await store.append(SEED, said("a"), expected=0, context=given)
        for number in range(20):
            await store.append(SEED, said(str(number)), expected=number + 1, context=context())
        again = await store.append(SEED, said("something else"), expected=21, context=given)
        assert again.duplicate
        assert again.events == first.events
        assert len(await store.read_stream(SEED)) == 21

    async def test_the_same_command_on_two_streams_is_recorded_on_both(self, store: EventStore):
        given = context()
        first = await store.append(SEED, said("a"), expected=0, context=given)
        second = await store.append(OTHER, said("a"), expected=0, context=given)
        assert not second.duplicate
        assert first.events[0].event_id != second.events[0].event_id

    async def test_of_two_racing_writers_exactly_one_wins(self, store: EventStore):
        attempts = [store.append(SEED, said(word), expected=0, context=context()) for word in "ab"]
        outcomes = await asyncio.gather(*attempts, return_exceptions=True)
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Appended", "StreamMovedOn"]
        assert len(await store.read_stream(SEED)) == 1

    async def test_one_command_sent_twice_at_once_is_recorded_once(self, store: EventStore):
        given = context()
        attempts = [store.append(SEED, said("a"), expected=0, context=given) for _ in range(2)]
        outcomes = await asyncio.gather(*attempts)
        assert outcomes[0].events == outcomes[1].events
        assert len(await store.read_stream(SEED)) == 1

    async def test_a_commit_that_is_too_large_writes_nothing(self, store: EventStore):
        with pytest.raises(CommitTooLarge):
            await store.append(SEED, [BytesValue(value=b"x" * 9_000_000)], expected=0, context=context())
        assert (await store.identity()).last_position == 0

    async def test_a_commit_without_events_is_a_mistake(self, store: EventStore):
        with pytest.raises(ValueError, match="nothing to record"):
            await store.append(SEED, [], expected=0, context=context())

    async def test_a_stream_name_cannot_reach_into_other_subjects(self, store: EventStore):
        with pytest.raises(ValueError, match="letters"):
            await store.append(StreamName("seed", "r1.>"), said("a"), expected=0, context=context())

    async def test_across_streams_positions_order_everything(self, store: EventStore):
        await store.append(SEED, said("a"), expected=0, context=context())
        await store.append(OTHER, said("b"), expected=0, context=context())
        await store.append(SEED, said("c"), expected=1, context=context())
        events = await everything(store)
        assert words(events) == ["a", "b", "c"]
        assert [event.position for event in events] == [1, 2, 3]

    async def test_the_streams_of_an_aggregate_are_listed_in_the_order_in_which_they_began(self, store: EventStore):
        late, early = StreamName("seed", "a-late"), StreamName("seed", "z-early")
        for stream, version in ((early, 0), (OTHER, 0), (late, 0), (early, 1)):
            await store.append(stream, said("x"), expected=version, context=context())
        assert list(await store.streams("seed")) == [early, late]
        assert list(await store.streams("nobody")) == []

    async def test_all_is_read_between_two_positions(self, store: EventStore):
        for number in range(5):
            await store.append(SEED, said(str(number)), expected=number, context=context())
        assert words(await everything(store, after=1, until=3)) == ["1", "2"]
        assert words(await everything(store, after=3)) == ["3", "4"]
        assert words(await everything(store, after=5)) == []
        assert words(await everything(store, until=99)) == ["0", "1", "2", "3", "4"]

    async def test_a_log_shorter_than_the_checkpoint_is_refused(self, store: EventStore):
        await store.append(SEED, said("a"), expected=0, context=context())
        with pytest.raises(LogReplaced):
            await everything(store, after=2)

    async def test_a_follower_sees_past_and_future_without_gap_or_double(self, store: EventStore):
        async def write(first: int, last: int) -> None:
            for number in range(first, last):
                await store.append(SEED, [Int64Value(value=number)], expected=number, context=context())

        await write(0, 10)
        async with asyncio.timeout(20), asyncio.TaskGroup() as tasks, aclosing(store.follow()) as following:
            tasks.create_task(write(10, 50))
            seen = [(await anext(following)).event.value for _ in range(50)]
        assert seen == list(range(50))

    async def test_a_follower_starts_where_it_is_told(self, store: EventStore):
        await store.append(SEED, said("a", "b"), expected=0, context=context())
        await store.append(SEED, said("c"), expected=2, context=context())
        async with asyncio.timeout(10), aclosing(store.follow(after=1)) as following:
            assert (await anext(following)).event.value == "c"

    @pytest.mark.parametrize("aggregates", [("run",), ("run", "policy")])
    async def test_a_follower_of_some_aggregates_sees_nothing_else(
        self, store: EventStore, aggregates: tuple[str, ...]
    ):
        await store.append(SEED, said("a"), expected=0, context=context())
        await store.append(OTHER, said("b"), expected=0, context=context())
        async with asyncio.timeout(10), aclosing(store.follow(aggregates=aggregates)) as following:
            assert (await anext(following)).event.value == "b"
            await store.append(SEED, said("c"), expected=1, context=context())
            await store.append(OTHER, said("d"), expected=1, context=context())
            assert (await anext(following)).event.value == "d"

    async def test_a_stream_is_read_backward(self, store: EventStore):
        await store.append(SEED, said("a", "b"), expected=0, context=context())
        await store.append(SEED, said("c", "d"), expected=2, context=context())
        assert words(list(await store.read_stream_backward(SEED))) == ["d", "c", "b", "a"]
        assert words(list(await store.read_stream_backward(SEED, limit=3))) == ["d", "c", "b"]
        assert words(list(await store.read_stream_backward(SEED, before_version=3, limit=1))) == ["b"]
        assert list(await store.read_stream_backward(OTHER)) == []

    async def test_all_is_read_backward_as_the_mirror_of_forward(self, store: EventStore):
        for number in range(700):
            stream = (SEED, OTHER)[number % 2]
            await store.append(stream, [Int64Value(value=number)], expected=number // 2, context=context())
        assert [event async for event in store.read_all_backward()] == (await everything(store))[::-1]
        between = [event async for event in store.read_all_backward(before=620, after=10)]
        assert between == (await everything(store, after=10, until=619))[::-1]

    async def test_a_commit_is_read_with_the_bytes_that_were_verified(self, store: EventStore):
        appended = await store.append(SEED, said("a", "b"), expected=0, context=context())
        [stored] = [stored async for stored in store.read_stored()]
        assert (stored.position, stored.stream, stored.events) == (1, SEED, appended.events)
        assert previous_of(stored.data) == b""

    async def test_a_writer_can_wait_until_its_own_write_can_be_read(self, store: EventStore):
        async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(store.wait_for(2, timeout_s=10))
            await store.append(SEED, said("a"), expected=0, context=context())
            await store.append(SEED, said("b"), expected=1, context=context())
        assert waiting.done()
        await store.wait_for(1, timeout_s=1)

    async def test_waiting_for_a_position_that_never_comes_ends(self, store: EventStore):
        with pytest.raises(StoreUnavailable, match="waiting for position 5"):
            await store.wait_for(5, timeout_s=0.05)

    async def test_a_marked_history_is_recognised_and_another_is_not(self, store: EventStore):
        await store.append(SEED, said("a", "b"), expected=0, context=context())
        await store.append(SEED, said("c"), expected=2, context=context())
        mark = store.mark(SEED, 2)
        assert mark is not None
        assert (mark.version, mark.position, list(mark.commits.values())) == (2, 1, [(1, 1)])
        assert await store.recognise(mark)
        assert not await store.recognise(msgspec.structs.replace(mark, sha256=b"x" * 32))
        assert not await store.recognise(msgspec.structs.replace(mark, stream=OTHER))

    async def test_there_is_no_mark_within_a_commit_or_beyond_the_end(self, store: EventStore):
        await store.append(SEED, said("a", "b"), expected=0, context=context())
        assert [store.mark(SEED, version) for version in (0, 1, 3)] == [None, None, None]

    async def test_the_identity_tells_birth_and_extent(self, store: EventStore):
        before = await store.identity()
        await store.append(SEED, said("a"), expected=0, context=context())
        after = await store.identity()
        assert (before.first_position, before.last_position) == (1, 0)
        assert (after.first_position, after.last_position) == (1, 1)
        assert before.created_ns == after.created_ns > 0

    async def test_a_long_stream_comes_back_whole(self, store: EventStore):
        for number in range(1200):
            await store.append(SEED, [Int64Value(value=number)], expected=number, context=context(command_id()))
        assert [event.event.value for event in await store.read_stream(SEED)] == list(range(1200))
        assert len(await everything(store)) == 1200
