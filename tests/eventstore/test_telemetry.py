"""Telemetry on a real server: stored in order, never in the way, every message's end counted."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager

import nats
import pytest

from eventstore.oona import Oona, open_log
from eventstore.oona.server import LocalServer
from eventstore.oona.streams import TELEMETRY, TELEMETRY_KEPT_S
from eventstore.oona.telemetry import HeardBatch, SendSettings, TelemetryPublisher
from eventstore.shedding import Counts
from eventstore.signing import Keys
from tests.eventstore.vocabulary import SEED, TYPES, context, said

LOW, NORMAL, CRITICAL = 1, 2, 4
SUBJECT = "esper.tel.tolaria.r1"
QUICK = SendSettings(pause_s=0.05, ack_wait_s=2.0)


@asynccontextmanager
async def running(publisher: TelemetryPublisher) -> AsyncGenerator[TelemetryPublisher, None]:
    sending = asyncio.create_task(publisher.run())
    try:
        yield publisher
    finally:
        sending.cancel()
        await asyncio.wait([sending])


async def until_settled(publisher: TelemetryPublisher) -> Counts:
    async with asyncio.timeout(20):
        while publisher.counts.waiting:  # noqa: ASYNC110 - offering sets no event
            await asyncio.sleep(0)
    return publisher.counts


async def heard(oona: Oona, many: int, name: str = "ear") -> list[HeardBatch]:
    batches: list[HeardBatch] = []
    async with asyncio.timeout(20), aclosing(oona.telemetry.heard(name)) as hearing:
        async for batch in hearing:
            batches.append(batch)
            if sum(len(one.packets) + sum(one.refused.values()) for one in batches) >= many:
                break
    return batches


def packets(batches: list[HeardBatch]) -> list[bytes]:
    return [one.packet for batch in batches for one in batch.packets]


def offer(publisher: TelemetryPublisher, first: int, last: int, priority: int = NORMAL) -> None:
    for number in range(first, last):
        publisher.offer(SUBJECT, b"%d" % number, priority)


async def test_the_stream_forgets_after_three_days_and_takes_fast_batches(oona: Oona, nats_server: LocalServer):
    client = await nats.connect(nats_server.url)
    config = (await client.jsm().stream_info(TELEMETRY)).config
    await client.close()
    assert (config.max_age, config.discard, config.allow_batched) == (TELEMETRY_KEPT_S, "old", True)
    assert config.subjects == ["esper.tel.>"]


@pytest.mark.parametrize("many", [1, 2, 2_500])
async def test_what_is_offered_is_heard_in_order(oona: Oona, many: int):
    async with running(oona.telemetry.publisher()) as publisher:
        offer(publisher, 0, many)
        counts = await until_settled(publisher)
    assert counts == Counts(offered=many, stored=many)
    assert packets(await heard(oona, many)) == [b"%d" % number for number in range(many)]


async def test_batches_follow_on_each_other_in_order(oona: Oona):
    async with running(oona.telemetry.publisher(SendSettings(batch=7))) as publisher:
        offer(publisher, 0, 50)
        assert (await until_settled(publisher)).stored == 50
    assert packets(await heard(oona, 50)) == [b"%d" % number for number in range(50)]


async def test_an_overload_is_shed_least_important_first_and_counted(oona: Oona):
    publisher = oona.telemetry.publisher(SendSettings(capacity=100))
    offer(publisher, 0, 90, LOW)
    offer(publisher, 1000, 1050, CRITICAL)
    async with running(publisher):
        counts = await until_settled(publisher)
    assert counts == Counts(offered=140, stored=100, shed={LOW: 40})
    found = packets(await heard(oona, 100))
    assert found == [b"%d" % number for number in (*range(1000, 1050), *range(40, 90))]


async def test_offering_neither_waits_nor_fails_while_the_server_is_away(
    mortal_oona: Oona, own_nats_server: LocalServer
):
    async with running(mortal_oona.telemetry.publisher(SendSettings(capacity=50, pause_s=0.05))) as publisher:
        own_nats_server.kill()
        offer(publisher, 0, 80)
        counts = publisher.counts
        assert (counts.waiting, counts.shed) == (50, {NORMAL: 30})
        await own_nats_server.start()
        assert (await until_settled(publisher)).offered == 80
    assert publisher.counts.stored >= 49


async def test_across_a_killed_server_every_message_is_stored_shed_or_lost(
    mortal_oona: Oona, own_nats_server: LocalServer
):
    many, sent = 40_000, 0
    async with running(mortal_oona.telemetry.publisher(QUICK)) as publisher:
        while sent < many:
            offer(publisher, sent, sent + 500)
            sent += 500
            await asyncio.sleep(0)
            if sent == many // 2:
                own_nats_server.kill()
                await own_nats_server.start()
        counts = await until_settled(publisher)
    assert counts.offered == many == counts.stored + counts.lost + sum(counts.shed.values())
    assert counts.stored
    # A killed server may have forgotten what it had stored, but it invents nothing and keeps the order.
    numbers = [int(packet) for packet in packets(await heard(mortal_oona, await stored(own_nats_server)))]
    assert numbers == sorted(set(numbers))
    assert len(numbers) <= counts.stored + counts.lost


async def stored(server: LocalServer) -> int:
    client = await nats.connect(server.url)
    info = await client.jsm().stream_info(TELEMETRY)
    await client.close()
    return info.state.messages


async def test_what_waits_at_the_end_can_be_sent_before_closing(oona: Oona):
    publisher = oona.telemetry.publisher()
    offer(publisher, 0, 20)
    await publisher.drain(5.0)
    assert publisher.counts == Counts(offered=20, stored=20)


async def test_without_a_stream_nothing_is_lost_and_the_log_still_takes_events(oona: Oona, nats_server: LocalServer):
    client = await nats.connect(nats_server.url)
    await client.jsm().delete_stream(TELEMETRY)
    publisher = oona.telemetry.publisher(QUICK)
    offer(publisher, 0, 20)
    await publisher.drain(5.0)
    assert publisher.counts == Counts(offered=20, waiting=20)
    await oona.store.append(SEED, said("a"), expected=0, context=context())
    await client.close()


async def test_a_forged_message_is_refused_and_counted_by_verdict(oona: Oona, nats_server: LocalServer):
    async with open_log(nats_server.url, keys=Keys("other"), types=TYPES, commands=TYPES) as stranger:
        forging = stranger.telemetry.publisher()
        offer(forging, 0, 3)
        await forging.drain(5.0)
    client = await nats.connect(nats_server.url)
    await client.jetstream().publish(SUBJECT, b"\xff not telemetry")
    await client.close()
    genuine = oona.telemetry.publisher()
    offer(genuine, 7, 8)
    await genuine.drain(5.0)
    batches = await heard(oona, 5)
    assert packets(batches) == [b"7"]
    refused = {verdict: many for batch in batches for verdict, many in batch.refused.items()}
    assert sum(refused.values()) == 4
    assert refused.keys() == {"verifier_unavailable", "undecodable"}


async def test_telemetry_moved_to_another_subject_is_refused(oona: Oona, nats_server: LocalServer):
    publisher = oona.telemetry.publisher()
    offer(publisher, 0, 1)
    await publisher.drain(5.0)
    client = await nats.connect(nats_server.url)
    original = await client.jsm().get_msg(TELEMETRY, 1)
    await client.jetstream().publish("esper.tel.tolaria.r2", original.data or b"")
    await client.close()
    batches = await heard(oona, 2)
    assert packets(batches) == [b"0"]
    assert batches[-1].refused == {"invalid_signature": 1}


async def test_a_reader_that_died_is_given_again_what_it_had_not_finished(oona: Oona):
    publisher = oona.telemetry.publisher()
    offer(publisher, 0, 3)
    await publisher.drain(5.0)
    async with aclosing(oona.telemetry.heard("ear")) as hearing:
        first = await anext(hearing)
    lag = next(lag for lag in await oona.telemetry.lags() if lag.reader == "ear")
    assert (first.position, lag.stream, lag.depth) == (3, TELEMETRY, 3)


async def test_lag_counts_what_waits_and_falls_to_nothing_when_it_is_heard(oona: Oona):
    publisher = oona.telemetry.publisher()
    offer(publisher, 0, 30)
    await publisher.drain(5.0)
    async with aclosing(oona.telemetry.heard("ear")) as hearing:
        async for batch in hearing:
            offer(publisher, 30, 31)
            await publisher.drain(5.0)
            if batch.position == 31:
                break
    (lag,) = [lag for lag in await oona.telemetry.lags() if lag.reader == "ear"]
    assert lag.depth <= 2
