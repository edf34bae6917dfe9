"""Appends that wait together share a batch; each keeps its own promise."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec
import nats
import pytest

from eventstore.commit import CommitCodec
from eventstore.errors import LogFull, StreamMovedOn
from eventstore.oona import Oona, open_log
from eventstore.oona.connection import Connection
from eventstore.oona.credentials import User
from eventstore.oona.grouping import Worth
from eventstore.oona.jetstream import JetStream
from eventstore.oona.server import LocalServer
from eventstore.oona.store import OonaStore
from eventstore.oona.streams import BATCHES, EVENTS, StreamSizes, settings
from eventstore.signing import Keys
from eventstore.store import Appended, Context, EventStore, StreamName
from eventstore.verification import verify_log
from tests.eventstore.vocabulary import SEED, TYPES, context, said, words

MANY = 100
STREAMS = [StreamName("seed", f"g{number}") for number in range(MANY)]


async def append_at_once(
    store: EventStore, word: str, expected: Sequence[int], *, given: Sequence[Context] = (), pause: bool = True
) -> list[Appended | BaseException]:
    """Append *word* to every stream at the same time, after what each is at was looked up."""
    if pause:
        await asyncio.gather(*(store.read_stream(stream) for stream in STREAMS))
    asked = given or [context() for _ in STREAMS]
    appends = (
        store.append(stream, said(word), expected=version, context=decision)
        for stream, version, decision in zip(STREAMS, expected, asked, strict=True)
    )
    return await asyncio.gather(*appends, return_exceptions=True)


async def batches(url: str) -> Counter[str]:
    """Return how many stored commits each batch holds, "" for those that came alone."""
    client, found = await nats.connect(url), Counter[str]()
    js = client.jetstream()
    for position in range(1, (await js.stream_info(EVENTS)).state.last_seq + 1):
        headers = (await js.get_msg(EVENTS, position)).headers or {}
        found[headers.get("Nats-Batch-Id", "")] += 1
    await client.close()
    return found


def recorded(outcomes: list[Appended | BaseException]) -> list[Appended]:
    return [outcome for outcome in outcomes if isinstance(outcome, Appended)]


async def test_appends_that_wait_together_are_stored_together_and_each_knows_its_place(
    oona: Oona, nats_server: LocalServer
):
    outcomes = await append_at_once(oona.store, "a", [0] * MANY)
    stored = {event.event_id: event async for event in oona.store.read_all()}
    assert [event for appended in recorded(outcomes) for event in appended.events] == [
        stored[appended.events[0].event_id] for appended in recorded(outcomes)
    ]
    assert len(stored) == len(recorded(outcomes)) == MANY
    assert max((await batches(nats_server.url)).values()) >= MANY // 2


async def test_a_lone_append_travels_alone(oona: Oona, nats_server: LocalServer):
    for version in range(3):
        await oona.store.append(SEED, said("a"), expected=version, context=context())
    assert await batches(nats_server.url) == {"": 3}


async def test_a_stale_writer_in_a_batch_hurts_only_itself(oona: Oona, second_oona: Oona, nats_server: LocalServer):
    await append_at_once(oona.store, "a", [0] * MANY)
    await second_oona.store.append(STREAMS[70], said("faster"), expected=1, context=context())
    outcomes = await append_at_once(oona.store, "b", [1] * MANY, pause=False)
    assert [type(outcome) for outcome in outcomes].count(Appended) == MANY - 1
    stale = outcomes[70]
    assert isinstance(stale, StreamMovedOn)
    assert stale.actual == 2
    assert words(await oona.store.read_stream(STREAMS[70])) == ["a", "faster"]


async def test_of_two_that_wait_for_one_stream_the_first_is_recorded_and_the_other_told(oona: Oona):
    rivals = [stream for stream in STREAMS for _ in range(2)]
    await append_at_once(oona.store, "a", [0] * MANY)
    outcomes = await asyncio.gather(
        *(oona.store.append(stream, said("b"), expected=1, context=context()) for stream in rivals),
        return_exceptions=True,
    )
    kinds = Counter(type(outcome) for outcome in outcomes)
    assert kinds == {Appended: MANY, StreamMovedOn: MANY}
    assert [words(await oona.store.read_stream(stream)) for stream in STREAMS] == [["a", "b"]] * MANY


async def test_decisions_that_are_retried_together_are_answered_with_what_was_recorded(oona: Oona, second_oona: Oona):
    given = [context() for _ in STREAMS]
    first = await append_at_once(oona.store, "a", [0] * MANY, given=given)
    again = await append_at_once(second_oona.store, "a", [0] * MANY, given=given, pause=False)
    assert [appended.events for appended in recorded(again)] == [appended.events for appended in recorded(first)]
    assert all(appended.duplicate for appended in recorded(again))
    assert len([event async for event in oona.store.read_all()]) == MANY


async def test_a_decision_already_recorded_elsewhere_does_not_hurt_the_batch_it_is_retried_in(
    oona: Oona, second_oona: Oona
):
    given = [context() for _ in STREAMS]
    await append_at_once(oona.store, "seen", [0] * MANY)
    first = await second_oona.store.append(STREAMS[70], said("a"), expected=1, context=given[70])
    outcomes = await append_at_once(oona.store, "a", [1] * MANY, given=given, pause=False)
    assert len(recorded(outcomes)) == MANY
    assert [appended.duplicate for appended in recorded(outcomes)].count(True) == 1
    assert recorded(outcomes)[70].events == first.events


async def test_an_append_that_nobody_waits_for_any_more_leaves_its_batch_whole(oona: Oona):
    await append_at_once(oona.store, "a", [0] * MANY)
    appends = [
        asyncio.ensure_future(oona.store.append(stream, said("b"), expected=1, context=context())) for stream in STREAMS
    ]
    await asyncio.sleep(0)
    appends[70].cancel()
    outcomes = await asyncio.gather(*appends, return_exceptions=True)
    assert len([outcome for outcome in outcomes if isinstance(outcome, Appended)]) == MANY - 1
    assert len(await oona.store.read_stream(STREAMS[70])) in (1, 2)


async def test_a_log_that_fills_up_refuses_loudly_also_in_a_batch(nats_server: LocalServer):
    sizes = StreamSizes(events_bytes=40_000)
    async with open_log(nats_server.url, keys=Keys("k"), types=TYPES, commands=TYPES, sizes=sizes) as oona:
        outcomes = await append_at_once(oona.store, "a", [0] * MANY)
        stored = [event async for event in oona.store.read_all()]
    assert {type(outcome) for outcome in outcomes} == {Appended, LogFull}
    assert len(stored) == len(recorded(outcomes))


async def test_a_log_of_batches_verifies(oona: Oona):
    for version in range(3):
        await append_at_once(oona.store, "a", [version] * MANY, pause=not version)
    checked = await verify_log(oona.store)
    assert (checked.commits, checked.fault) == (3 * MANY, None)


async def older_log(url: str) -> None:
    """Create the stream of record as it was created before it took batches."""
    client = await nats.connect(url)
    config = {key: value for key, value in settings(StreamSizes())[0].items() if key != BATCHES}
    await client.request(f"$JS.API.STREAM.CREATE.{EVENTS}", msgspec.json.encode(config))
    await client.close()


async def test_a_log_from_before_batches_is_upgraded_in_place(nats_server: LocalServer):
    await older_log(nats_server.url)
    connection = Connection()
    await connection.open(nats_server.url, name="test")
    older = OonaStore(JetStream(connection), CommitCodec(Keys("k"), TYPES))
    await older.append(SEED, said("before"), expected=0, context=context())
    identity = await older.identity()
    for _ in range(2):
        async with open_log(nats_server.url, keys=Keys("k"), types=TYPES, commands=TYPES) as oona:
            assert await oona.store.identity() == identity
    async with open_log(nats_server.url, keys=Keys("k"), types=TYPES, commands=TYPES) as oona:
        assert len(recorded(await append_at_once(oona.store, "a", [0] * MANY))) == MANY
        assert words(await oona.store.read_stream(SEED)) == ["before"]
    assert max((await batches(nats_server.url)).values()) >= MANY // 2
    await connection.close()


async def test_a_stream_that_takes_no_batches_is_written_one_by_one(nats_server: LocalServer):
    await older_log(nats_server.url)
    connection = Connection()
    await connection.open(nats_server.url, name="test")
    store = OonaStore(JetStream(connection), CommitCodec(Keys("k"), TYPES), batches=True)
    assert len(recorded(await append_at_once(store, "a", [0] * MANY))) == MANY
    assert await batches(nats_server.url) == {"": MANY}
    await connection.close()


@pytest.mark.parametrize(("alone_s", "group_s", "messages"), [(0.001, 0.01, 10), (0.001, 1.0, 64), (0.1, 0.01, 4)])
def test_a_group_is_worth_it_once_its_messages_would_take_longer_alone(alone_s: float, group_s: float, messages: int):
    worth = Worth()
    worth.alone(alone_s, ahead=0)
    worth.group(group_s)
    assert worth.messages == messages


def test_a_message_behind_others_is_not_blamed_for_their_time():
    worth = Worth()
    worth.alone(0.004, ahead=3)
    worth.group(0.01)
    assert worth.messages == 10


async def test_a_writer_that_may_not_upgrade_an_older_log_writes_it_one_by_one(tmp_path: Path):
    narrow = (*(f"$JS.API.{verb}.*" for verb in ("STREAM.INFO", "STREAM.MSG.GET")), "$JS.API.CONSUMER.>", "esper.evt.>")
    writer = User(name="writer", password="w", publish=(*narrow, "_INBOX.>"), subscribe=("_INBOX.>",))
    admin = User(name="admin", password="a", publish=(">",), subscribe=(">",))
    server = LocalServer(tmp_path, users=(admin, writer), tied=True)
    await server.start()
    try:
        place = server.url.removeprefix("nats://").rpartition("@")[2]
        async with open_log(f"nats://admin:a@{place}", keys=Keys("k"), types=TYPES, commands=TYPES):
            pass
        client = await nats.connect(f"nats://admin:a@{place}")
        await client.jsm().delete_stream(EVENTS)
        await client.close()
        await older_log(f"nats://admin:a@{place}")
        async with open_log(f"nats://writer:w@{place}", keys=Keys("k"), types=TYPES, commands=TYPES) as log:
            assert len(recorded(await append_at_once(log.store, "a", [0] * MANY))) == MANY
        assert await batches(f"nats://admin:a@{place}") == {"": MANY}
    finally:
        await server.stop()
