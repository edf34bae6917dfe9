"""Appends that share a batch, under races, kills, lost acknowledgements and a power cut: each keeps its own promise."""

import asyncio
import os
import shutil
import signal
from collections import Counter
from contextlib import aclosing
from pathlib import Path

import nats
import pytest

from eventstore.errors import StoreUnavailable, StreamMovedOn
from eventstore.oona import Oona, open_log
from eventstore.oona.cluster import LocalCluster
from eventstore.oona.connection import Connection
from eventstore.oona.jetstream import JetStream, Outgoing, Refused
from eventstore.oona.server import LocalServer
from eventstore.oona.streams import EVENTS, StreamSizes
from eventstore.store import Appended, Context, EventStore, StreamName
from tests.eventstore.test_oona_outages import until_connected
from tests.eventstore.vocabulary import context, said
from tests.journeys.faults.conftest import RING, THREE, running
from tests.journeys.faults.disk import create, mounted, require_disk
from tests.journeys.faults.ledger import Ledger, Verdict, tell
from tests.journeys.faults.test_cluster import leader, until_all_are_current
from tests.journeys.faults.test_power_cut import DISK_MIB, SMALL
from tests.journeys.faults.wire import Wire

STREAMS = [StreamName("seed", f"g{number}") for number in range(50)]
WRITERS = 64
ACKNOWLEDGED_PER_KILL = 300


async def append_to_all(
    store: EventStore, version: int, given: list[Context] | None = None
) -> list[Appended | BaseException]:
    """Append to every stream after *version* at the same time."""
    decisions = given or [context() for _ in STREAMS]
    return await asyncio.gather(
        *(
            store.append(stream, said("x"), expected=version, context=decision)
            for stream, decision in zip(STREAMS, decisions, strict=True)
        ),
        return_exceptions=True,
    )


async def batched(url: str) -> int:
    """Return how many stored commits came in a batch."""
    client = await nats.connect(url.split(","))
    subscription = await client.jetstream().subscribe("esper.evt.>", stream=EVENTS, ordered_consumer=True)
    last = (await client.jetstream().stream_info(EVENTS)).state.last_seq
    messages = [await subscription.next_msg(timeout=10) for _ in range(last)]
    await client.close()
    return sum("Nats-Batch-Id" in (message.headers or {}) for message in messages)


async def race(log: Oona, url: str, sizes: StreamSizes, versions: int) -> None:
    """Let two writers answer the same version of every stream at once, *versions* times."""
    ledger, fair = Ledger(), 0
    async with open_log(url, **RING, sizes=sizes) as other:
        for version in range(versions):
            ours, theirs = await asyncio.gather(*(append_to_all(one.store, version) for one in (log, other)))
            for pair in zip(ours, theirs, strict=True):
                for appended in (outcome for outcome in pair if isinstance(outcome, Appended)):
                    await ledger.note(appended)
                kinds = Counter(type(outcome) for outcome in pair)
                fair += kinds == {Appended: 1, StreamMovedOn: 1}
    verdict, shared = await ledger.compare(log.store), await batched(url)
    races = versions * len(STREAMS)
    tell(f"{races} races, {fair} with exactly one winner, {shared} commits in batches", verdict)
    assert fair == races
    assert verdict.sound
    assert verdict.stored == verdict.acknowledged == races


async def test_a_thousand_races_between_batches_have_a_thousand_winners(log: Oona, own_nats_server: LocalServer):
    await race(log, own_nats_server.url, StreamSizes(), 1000 // len(STREAMS))


async def campaign(log: Oona, server: LocalServer, kills: int) -> None:
    ledger, stop = Ledger(), asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for number in range(WRITERS):
            tasks.create_task(ledger.write(log.store, StreamName("seed", f"w{number}"), stop))
        for kill in range(1, kills + 1):
            await ledger.until(kill * ACKNOWLEDGED_PER_KILL)
            server.kill()
            await server.start()
        await ledger.until((kills + 1) * ACKNOWLEDGED_PER_KILL)
        stop.set()
    verdict, shared = await ledger.compare(log.store), await batched(server.url)
    tell(f"{kills} kills of the server, {ledger.retries} retries, {shared} commits in batches", verdict)
    assert verdict.sound
    assert verdict.unacknowledged == 0
    assert shared > 0


async def test_kills_of_the_server_between_batches_lose_nothing_and_double_nothing(
    log: Oona, own_nats_server: LocalServer
):
    await campaign(log, own_nats_server, kills=3)


@pytest.mark.slow
async def test_twenty_kills_of_the_server_between_batches_lose_nothing_and_double_nothing(
    log: Oona, own_nats_server: LocalServer
):
    await campaign(log, own_nats_server, kills=20)


async def test_a_leader_killed_between_batches_costs_nothing_that_was_acknowledged(
    replicated: Oona, cluster: LocalCluster
):
    ledger, stop = Ledger(), asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for number in range(WRITERS):
            tasks.create_task(ledger.write(replicated.store, StreamName("seed", f"w{number}"), stop))
        await ledger.until(ACKNOWLEDGED_PER_KILL)
        victim = await leader(cluster)
        victim.kill()
        await ledger.until(2 * ACKNOWLEDGED_PER_KILL)
        await victim.start()
        await until_all_are_current(cluster)
        await ledger.until(3 * ACKNOWLEDGED_PER_KILL)
        stop.set()
    verdict, shared = await ledger.compare(replicated.store), await batched(cluster.url)
    tell(f"leader killed, {ledger.retries} retries, {shared} commits in batches", verdict)
    assert verdict.sound
    assert shared > 0


async def lose_the_answer(url: str, sizes: StreamSizes, *, cut: bool) -> tuple[list[Appended], int]:
    """Append a batch whose answer is lost on the wire, then hear again or reconnect; return the answers and the log."""
    given = [context() for _ in STREAMS]
    async with open_log(url, **RING, sizes=sizes) as judge, Wire(url) as wire:
        async with open_log(wire.url, **RING, sizes=sizes) as log:
            await append_to_all(log.store, 0)
            wire.go_deaf()
            appending = asyncio.ensure_future(append_to_all(log.store, 1, given))
            async with asyncio.timeout(20), aclosing(judge.store.follow(after=len(STREAMS))) as following:
                for _ in STREAMS:
                    await anext(following)
            if cut:
                wire.cut()
            else:
                wire.hear()
            outcomes = await appending
            if cut:
                assert {type(outcome) for outcome in outcomes} == {StoreUnavailable}
                ledger = Ledger()
                appends = zip(STREAMS, given, strict=True)
                outcomes = await asyncio.gather(
                    *(ledger.append(log.store, stream, "x", 1, decision.command_id) for stream, decision in appends)
                )
        stored = [event async for event in judge.store.read_all()]
    return [outcome for outcome in outcomes if isinstance(outcome, Appended)], len(stored)


@pytest.mark.parametrize("cut", [False, True], ids=["asked again by the store", "retried by the caller"])
@pytest.mark.parametrize("nodes", [1, 3])
async def test_a_batch_whose_answer_was_lost_is_found_commit_by_commit(tmp_path: Path, nodes: int, cut: bool):
    if nodes == 1:
        async with running(tmp_path / "server") as server:
            answers, stored = await lose_the_answer(server.url, StreamSizes(), cut=cut)
    else:
        cluster = LocalCluster(tmp_path / "cluster")
        await cluster.start()
        answers, stored = await lose_the_answer(cluster.nodes[0].url, THREE, cut=cut)
        await cluster.stop()
    tell(f"the answer to a batch lost on {nodes} node(s)", f"{len(answers)} answers, {stored} events")
    assert len(answers) == len(STREAMS)
    assert all(answer.duplicate for answer in answers)
    assert stored == 2 * len(STREAMS)


async def test_a_batch_that_its_writer_left_half_sent_leaves_nothing_behind(log: Oona, own_nats_server: LocalServer):
    await append_to_all(log.store, 0)
    client = await nats.connect(own_nats_server.url)
    for number, stream in enumerate(STREAMS, start=1):
        headers = {"Nats-Batch-Id": "halfway", "Nats-Batch-Sequence": str(number)}
        await client.publish(f"esper.evt.{stream.aggregate}.{stream.aggregate_id}", b"never", headers=headers)
    await client.flush()
    await client.close()
    outcomes = await append_to_all(log.store, 1)
    stored = [event async for event in log.store.read_all()]
    assert [type(outcome) for outcome in outcomes] == [Appended] * len(STREAMS)
    assert len(stored) == 2 * len(STREAMS)


async def test_the_server_refuses_a_batch_whole_when_one_expectation_is_wrong(own_nats_server: LocalServer):
    async with open_log(own_nats_server.url, **RING) as log:
        connection = Connection()
        await connection.open(own_nats_server.url, name="test")
        expected = ["0", "0", "7"]
        messages = [
            Outgoing(f"esper.evt.probe.p{number}", b"x", {"Nats-Expected-Last-Subject-Sequence": sequence})
            for number, sequence in enumerate(expected)
        ]
        with pytest.raises(Refused):
            await JetStream(connection).publish_together(messages, doing="probing")
        await connection.close()
        assert (await log.store.identity()).last_position == 0


async def test_every_append_ends_by_its_deadline_when_the_server_dies_under_it(own_nats_server: LocalServer):
    async with Wire(own_nats_server.url) as wire, open_log(wire.url, **RING) as log:
        await append_to_all(log.store, 0)
        wire.go_deaf()
        appending = asyncio.ensure_future(append_to_all(log.store, 1))
        await wire.lost.wait()
        own_nats_server.kill()
        outcomes = await asyncio.wait_for(appending, timeout=10)
        # A client of nats-py that is closed while it reconnects may go on reconnecting.
        wire.hear()
        await own_nats_server.start()
        await until_connected(log)
    assert {type(outcome) for outcome in outcomes} == {StoreUnavailable}


async def cut_the_power(folder: Path) -> Verdict:
    """Write batches to a disk of their own, freeze the server, and read back what had reached the disk's image."""
    ledger, image = Ledger(), create(folder / "disk.img", DISK_MIB)
    with mounted(image, folder / "alive"):
        async with running(folder / "alive" / "server") as server:
            async with open_log(server.url, **RING, sizes=SMALL) as log:
                for version in range(10):
                    for outcome in await append_to_all(log.store, version):
                        assert isinstance(outcome, Appended)
                        await ledger.note(outcome)
            assert await batched(server.url) > 5 * len(STREAMS)
            os.kill(server.pid or 0, signal.SIGSTOP)
            shutil.copyfile(image, folder / "after.img")
    with mounted(folder / "after.img", folder / "after"):
        async with running(folder / "after" / "server") as server, open_log(server.url, **RING, sizes=SMALL) as log:
            return await ledger.compare(log.store)


async def test_batches_survive_a_power_cut_whole(tmp_path: Path):
    require_disk()
    verdict = await cut_the_power(tmp_path)
    tell("power cut after batches, sync_interval always", verdict)
    assert verdict.acknowledged == verdict.stored == 10 * len(STREAMS)
    assert verdict.sound
