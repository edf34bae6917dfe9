"""What a run measures goes from the training thread to the tables, and gives way under pressure."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import nats
import pytest

from actors.clock import SystemClock, VirtualClock
from actors.measuring import NOT_MEASURED, RunTelemetry, StepMeasures
from actors.place import Place
from actors.projector import CATALOGUE, ask_projector, run_projector
from actors.watch import FabricState, FabricWatch
from esper.leyline.registry import COMMANDS, EVENTS
from esper.leyline.v1.fabric_pb2 import ConservativeModeLeft
from esper.leyline.v1.telemetry_pb2 import TelemetryPacket
from eventstore.errors import StoreUnavailable
from eventstore.oona import Oona, open_log
from eventstore.oona.lag import Lag
from eventstore.oona.server import LocalServer
from eventstore.oona.telemetry import SendSettings
from eventstore.projection.live import Question
from eventstore.signing import Keys
from eventstore.store import StreamName
from tests.eventstore.vocabulary import context

RUN = "a" * 32
FAR_BEHIND = FabricState(depth=9_999)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place.at(tmp_path, {})


@pytest.fixture
async def log(place: Place, nats_server: LocalServer) -> AsyncGenerator[Oona, None]:
    async with open_log(nats_server.url, keys=place.keys, types=EVENTS, commands=COMMANDS) as log:
        yield log


def measuring(log: Oona, clock: VirtualClock | None = None) -> RunTelemetry:
    # The present, so that what is measured is not forgotten at once.
    return RunTelemetry(log.telemetry, log.bus, RUN, clock or VirtualClock(time.time_ns()))


def steps(telemetry: RunTelemetry, many: int, epoch: int = 0) -> None:
    for step in range(1, many + 1):
        latency_ms = NOT_MEASURED if step == 1 else 4.0
        telemetry.step(StepMeasures(step, epoch, 1.0 / step, latency_ms, 0.5, 0.25))


async def packets(log: Oona, many: int) -> list[TelemetryPacket]:
    found: list[TelemetryPacket] = []
    async with asyncio.timeout(20), aclosing(log.telemetry.heard("ear")) as hearing:
        async for batch in hearing:
            found.extend(TelemetryPacket.FromString(one.packet) for one in batch.packets)
            if len(found) >= many:
                return found
    raise AssertionError("unreachable: hearing does not end")


async def test_steps_are_packed_and_an_epoch_sends_what_is_left(log: Oona):
    telemetry = measuring(log)
    steps(telemetry, 300)
    telemetry.epoch(300, 1, {"tolaria.epoch.score": 0.5})
    await telemetry.finish(5.0)
    found = await packets(log, 4)
    by_size = sorted((one for one in found if one.source_subsystem == "tolaria"), key=lambda one: len(one.steps))
    assert [len(one.steps) for one in by_size] == [1, 44, 256]
    assert {one.run_id for one in found} == {RUN}


async def test_a_packet_is_sent_when_it_is_old_though_not_full(log: Oona):
    clock = VirtualClock()
    telemetry = measuring(log, clock)
    steps(telemetry, 3)
    assert telemetry.publisher.counts.offered == 0
    clock.advance(0.25)
    steps(telemetry, 1)
    assert telemetry.publisher.counts.offered == 1


async def test_a_fabric_that_is_far_behind_sheds_steps_and_epochs_and_keeps_the_counts_of_it(log: Oona):
    telemetry = measuring(log)
    telemetry.heed(FabricState(depth=9_700))
    steps(telemetry, 256)
    telemetry.epoch(256, 1, {"tolaria.epoch.score": 0.5})
    await telemetry.finish(5.0)
    counts = telemetry.publisher.counts
    assert (counts.stored, dict(counts.shed)) == (1, {1: 1, 2: 1})
    (told,) = await packets(log, 1)
    assert {one.name: one.values[0] for one in told.metrics}["oona.telemetry.shed"] == 2.0


async def test_conservative_mode_is_obeyed_by_factors_and_left_again(log: Oona):
    telemetry = measuring(log)
    before = telemetry.publisher.settings
    telemetry.heed(FabricState(depth=0, conservative=True))
    during = telemetry.publisher.settings
    steps(telemetry, 256)
    assert telemetry.publisher.counts.shed == {1: 1}
    assert (during.batch, during.ack_wait_s) == (before.batch * 0.5, before.ack_wait_s * 1.5)
    telemetry.heed(FabricState(depth=0))
    steps(telemetry, 256)
    assert (telemetry.publisher.settings, telemetry.publisher.counts.waiting) == (before, 1)


async def test_a_run_hears_of_the_mode_from_the_watch_and_goes_on_recording(log: Oona):
    deep = [Lag(stream="ESPER_TELEMETRY", reader="telemetry", depth=5_000)]
    await FabricWatch(log, SystemClock()).observe(deep)
    telemetry = measuring(log)
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        watching = group.create_task(FabricWatch(log, SystemClock()).run())
        running = group.create_task(telemetry.run())
        while telemetry.publisher.settings.batch == SendSettings().batch:  # noqa: ASYNC110 - it asks once a second
            await asyncio.sleep(0)
        steps(telemetry, 256)
        appended = await log.store.append(
            StreamName("run", RUN), [ConservativeModeLeft()], expected=0, context=context()
        )
        watching.cancel()
        running.cancel()
    assert telemetry.publisher.counts.shed == {1: 1}
    assert appended.events[0].version == 1


async def test_a_depth_that_is_not_known_lifts_no_pressure(log: Oona):
    telemetry = measuring(log)
    telemetry.heed(FAR_BEHIND)
    telemetry.heed(FabricState(depth=None))
    steps(telemetry, 256)
    assert telemetry.publisher.counts.shed == {1: 1}


async def projected(log: Oona, place: Place, sql: str, enough: int) -> list[list[object]]:
    """Run a projector until the answer to *sql* has *enough* rows."""
    projector = asyncio.create_task(run_projector(log, place, log.telemetry))
    rows: list[list[object]] = []
    try:
        async with asyncio.timeout(30):
            while len(rows) < enough:
                try:
                    rows = (await ask_projector(log.bus, Question(sql=sql), timeout_s=1.0)).rows
                except StoreUnavailable:
                    await asyncio.sleep(0)
    finally:
        projector.cancel()
        await asyncio.wait([projector])
    return rows


async def test_what_a_run_measured_is_asked_for_in_sql(log: Oona, place: Place):
    telemetry = measuring(log)
    steps(telemetry, 10, epoch=3)
    await telemetry.finish(5.0)
    sql = f"select epoch, steps, step_ms, overhead_ms, longest_fence_ms from telemetry.step_time where run_id = '{RUN}'"  # noqa: S608
    assert await projected(log, place, sql, 1) == [[3, 9, 4.0, 0.5, 0.25]]


async def test_a_projector_that_is_killed_and_started_again_keeps_each_value_once(log: Oona, place: Place):
    telemetry = measuring(log)
    for epoch in range(3):
        steps(telemetry, 20, epoch=epoch)
        telemetry.epoch(20, epoch, {"tolaria.epoch.score": 0.5})
        await telemetry.publisher.drain(5.0)
        sql = "select epoch from telemetry.points where metric = 'tolaria.epoch.score'"
        await projected(log, place, sql, epoch + 1)
    counted = "select count(*) from telemetry.points where metric = 'tolaria.training.loss' having count(*) >= 60"
    assert await projected(log, place, counted, 1) == [[60]]


async def test_forged_and_meaningless_telemetry_leaves_a_count_and_no_value(
    log: Oona, place: Place, nats_server: LocalServer
):
    async with open_log(nats_server.url, keys=Keys("other"), types=EVENTS, commands=COMMANDS) as stranger:
        forged = measuring(stranger)
        steps(forged, 1)
        await forged.finish(5.0)
    publisher = log.telemetry.publisher()
    publisher.offer(f"esper.tel.tolaria.{RUN}", b"\xff\xff", 1)
    await publisher.drain(5.0)
    found = await projected(log, place, "select verdict, sum(messages) from telemetry.refused group by 1 order by 1", 2)
    assert [row[0] for row in found] == ["undecodable", "verifier_unavailable"]
    assert await projected(log, place, "select count(*) from telemetry.points", 1) == [[0]]


async def test_a_stream_that_was_made_anew_is_heard_from_its_beginning(
    log: Oona, place: Place, nats_server: LocalServer
):
    first = measuring(log)
    steps(first, 5)
    first.epoch(5, 1, {"tolaria.epoch.score": 0.5})
    await first.finish(5.0)
    sql = "select epoch from telemetry.points where metric = 'tolaria.epoch.score'"
    await projected(log, place, sql, 1)
    client = await nats.connect(nats_server.url)
    await client.jsm().delete_stream("ESPER_TELEMETRY")
    await client.close()
    async with open_log(nats_server.url, keys=place.keys, types=EVENTS, commands=COMMANDS) as again:
        second = measuring(again)
        second.epoch(6, 2, {"tolaria.epoch.score": 0.6})
        await second.finish(5.0)
        assert await projected(again, place, f"{sql} order by 1", 2) == [[1], [2]]


def test_telemetry_is_no_part_of_what_a_rebuild_makes():
    assert CATALOGUE.annex is not None
    assert not CATALOGUE.annex.tables.keys() & CATALOGUE.tables.keys()
