"""What only a shared log on a server can do wrong."""

import asyncio
from contextlib import aclosing

import nats
import pytest

from eventstore.errors import LogCorrupt, LogFull, LogMisconfigured, LogReplaced, StreamMovedOn, UnknownEventType
from eventstore.oona import Oona, open_log
from eventstore.oona.server import LocalServer
from eventstore.oona.store import OonaStore
from eventstore.oona.streams import EVENTS, StreamSizes
from eventstore.signing import Keys
from eventstore.store import Recorded
from eventstore.subjects import of_stream
from tests.eventstore.vocabulary import FEWER_TYPES, SEED, TYPES, context, said, words


async def everything(store: OonaStore) -> list[Recorded]:
    return [event async for event in store.read_all()]


async def fill(store: OonaStore) -> None:
    for version in range(100):
        await store.append(SEED, said("x" * 500), expected=version, context=context())


async def persist(store: OonaStore, word: str) -> None:
    """Append *word*, deciding again as often as somebody else was faster."""
    given, version = context(), 0
    while True:
        try:
            await store.append(SEED, said(word), expected=version, context=given)
        except StreamMovedOn as moved:
            version = moved.actual
        else:
            return


async def test_a_writer_that_saw_nothing_is_told_the_real_version(oona: Oona, second_oona: Oona):
    await oona.store.append(SEED, said("a", "b"), expected=0, context=context())
    with pytest.raises(StreamMovedOn) as refusal:
        await second_oona.store.append(SEED, said("c"), expected=0, context=context())
    assert refusal.value.actual == 2


async def test_a_writer_that_was_overtaken_can_go_on_from_the_real_version(oona: Oona, second_oona: Oona):
    await oona.store.append(SEED, said("a"), expected=0, context=context())
    await second_oona.store.append(SEED, said("b"), expected=1, context=context())
    with pytest.raises(StreamMovedOn) as refusal:
        await oona.store.append(SEED, said("c"), expected=1, context=context())
    await oona.store.append(SEED, said("c"), expected=refusal.value.actual, context=context())
    assert words(await second_oona.store.read_stream(SEED)) == ["a", "b", "c"]


async def test_two_processes_writing_at_once_leave_one_unbroken_chain(oona: Oona, second_oona: Oona):
    async with asyncio.TaskGroup() as tasks:
        for number in range(20):
            tasks.create_task(persist((oona if number % 2 else second_oona).store, str(number)))
    events = await oona.store.read_stream(SEED)
    assert sorted(int(word) for word in words(events)) == list(range(20))
    assert [event.version for event in events] == list(range(1, 21))


async def test_a_command_is_recorded_once_even_after_the_servers_dedupe_window(nats_server: LocalServer):
    sizes, given = StreamSizes(dedupe_window_s=0.1), context()
    async with open_log(nats_server.url, keys=Keys("k"), types=TYPES, commands=TYPES, sizes=sizes) as first:
        once = await first.store.append(SEED, said("a"), expected=0, context=given)
        for number in range(60):
            await first.store.append(SEED, said(str(number)), expected=number + 1, context=context())
    async with open_log(nats_server.url, keys=Keys("k"), types=TYPES, commands=TYPES, sizes=sizes) as later:
        again = await later.store.append(SEED, said("a"), expected=0, context=given)
        assert again.duplicate
        assert again.events == once.events
        assert len(await everything(later.store)) == 61


async def test_a_forged_message_stops_every_reader_where_it_stands(oona: Oona, nats_server: LocalServer):
    await oona.store.append(SEED, said("a"), expected=0, context=context())
    client = await nats.connect(nats_server.url)
    await client.jetstream().publish(of_stream(SEED), b"forged")
    await client.close()
    for reading in (everything(oona.store), oona.store.read_stream(SEED)):
        with pytest.raises(LogCorrupt) as refusal:
            await reading
        assert refusal.value.position == 2


async def test_a_message_on_a_subject_of_no_stream_stops_the_reader(oona: Oona, nats_server: LocalServer):
    client = await nats.connect(nats_server.url)
    await client.jetstream().publish("esper.evt.seed", b"lost")
    await client.close()
    with pytest.raises(LogCorrupt) as refusal:
        await everything(oona.store)
    assert (refusal.value.position, refusal.value.kind) == (1, "subject")


async def test_a_program_that_is_too_old_stops_at_the_new_type(oona: Oona, nats_server: LocalServer):
    await oona.store.append(SEED, said("a"), expected=0, context=context())
    async with open_log(nats_server.url, keys=Keys("k"), types=FEWER_TYPES, commands=TYPES) as old:
        with pytest.raises(UnknownEventType):
            await everything(old.store)


async def test_the_log_refuses_to_forget(oona: Oona, nats_server: LocalServer):
    await oona.store.append(SEED, said("a"), expected=0, context=context())
    client = await nats.connect(nats_server.url)
    for forget in (client.jsm().purge_stream(EVENTS), client.jsm().delete_msg(EVENTS, 1)):
        with pytest.raises(nats.js.errors.APIError):
            await forget
    await client.close()


async def test_a_full_log_refuses_loudly(nats_server: LocalServer):
    sizes = StreamSizes(events_bytes=4096)
    async with open_log(nats_server.url, keys=Keys("k"), types=TYPES, commands=TYPES, sizes=sizes) as oona:
        with pytest.raises(LogFull):
            await fill(oona.store)
        assert 0 < len(await everything(oona.store)) < 10


async def test_a_stream_with_other_promises_is_refused_with_the_differences(nats_server: LocalServer):
    client = await nats.connect(nats_server.url)
    await client.jsm().add_stream(name=EVENTS, subjects=["esper.evt.>"], discard="old", max_age=60)
    await client.close()
    with pytest.raises(LogMisconfigured) as refusal:
        async with open_log(nats_server.url, keys=Keys("k"), types=TYPES, commands=TYPES):
            pass
    assert refusal.value.name == EVENTS
    assert set(refusal.value.differences) == {"discard", "max_age", "deny_delete", "deny_purge"}


async def test_a_follower_refuses_a_log_that_was_created_anew(mortal_oona: Oona, own_nats_server: LocalServer):
    await mortal_oona.store.append(SEED, said("a"), expected=0, context=context())
    async with asyncio.timeout(30), aclosing(mortal_oona.store.follow()) as following:
        await anext(following)
        client = await nats.connect(own_nats_server.url)
        await client.jsm().delete_stream(EVENTS)
        async with open_log(own_nats_server.url, keys=Keys("k"), types=TYPES, commands=TYPES):
            pass
        await client.close()
        with pytest.raises(LogReplaced):
            await anext(following)
        with pytest.raises(LogReplaced):
            await mortal_oona.store.append(SEED, said("b"), expected=1, context=context())


async def test_durability_is_what_the_server_says(nats_server: LocalServer):
    async with open_log(
        nats_server.url, keys=Keys("k"), types=TYPES, commands=TYPES, monitor=nats_server.monitor
    ) as asked:
        assert asked.durable
    async with open_log(nats_server.url, keys=Keys("k"), types=TYPES, commands=TYPES) as unasked:
        assert not unasked.durable


async def test_a_new_process_reads_on_from_a_mark_without_reading_what_is_before_it(oona: Oona, second_oona: Oona):
    for number in range(5):
        await oona.store.append(SEED, said(str(number)), expected=number, context=context())
    mark = oona.store.mark(SEED, 4)
    assert mark is not None
    assert await second_oona.store.recognise(mark)
    assert words(list(await second_oona.store.read_stream(SEED, after_version=4))) == ["4"]
    assert words(list(await second_oona.store.read_stream(SEED))) == ["0", "1", "2", "3", "4"]


async def test_a_command_answered_before_the_mark_is_still_known(oona: Oona, second_oona: Oona):
    given = context()
    first = await oona.store.append(SEED, said("a"), expected=0, context=given)
    mark = oona.store.mark(SEED, 1)
    assert mark is not None
    assert await second_oona.store.recognise(mark)
    again = await second_oona.store.append(SEED, said("b"), expected=1, context=given)
    assert (again.duplicate, again.events) == (True, first.events)
