"""The projector answers over the bus, and survives being killed at any moment."""

import asyncio
import random
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from actors.guard import BreakerOpen
from actors.place import Place
from actors.projector import (
    BREAKER_NAME,
    CATALOGUE,
    CHUNKS,
    QUERIES,
    FetchChunk,
    ProjectorFailed,
    ask_frame,
    ask_projector,
    ask_rebuild,
    run_projector,
)
from esper.leyline.registry import COMMANDS, EVENTS
from eventstore.errors import StoreUnavailable
from eventstore.memory import MemoryBus, MemoryStore
from eventstore.oona import Oona, open_log
from eventstore.oona.server import LocalServer
from eventstore.projection.declare import Catalogue
from eventstore.projection.errors import PositionNotReached, ProjectionsBroken, QueryRefused, QueryTimedOut
from eventstore.projection.file import open_file
from eventstore.projection.frames import table
from eventstore.projection.live import Question
from eventstore.projection.rebuild import building_path, content_hash, rebuild
from eventstore.store import QueryBus, StreamName
from tests.projection.damage import damage
from tests.projection.history import tell_run

ROUNDS = 4
ROUNDS_ASKED_FOR = 20
START_WAIT_S = 30.0


class MemoryLog:
    """A log inside this process, as actors are handed one."""

    def __init__(self) -> None:
        self.store = MemoryStore(EVENTS)
        self.bus = MemoryBus(self.store)
        self.durable = False


@asynccontextmanager
async def projecting(log: MemoryLog, folder: Path) -> AsyncIterator[QueryBus]:
    projector = asyncio.create_task(run_projector(log, Place.at(folder)))
    try:
        await answering(log.bus)
        yield log.bus
    finally:
        projector.cancel()
        await asyncio.wait({projector})


async def answering(bus: QueryBus) -> None:
    async with asyncio.timeout(START_WAIT_S):
        while True:
            try:
                await ask_projector(bus, Question(sql="select 1"), timeout_s=1.0)
            except StoreUnavailable:
                await asyncio.sleep(0)
            else:
                return


async def test_the_projector_answers_questions_about_what_was_recorded(tmp_path: Path):
    log = MemoryLog()
    await tell_run(log.store)
    async with projecting(log, tmp_path) as bus:
        position = (await log.store.identity()).last_position
        found = await ask_projector(bus, Question(sql="select run_id from run_summary", min_position=position))
    assert (found.rows, found.position) == ([["f" * 32]], position)


async def test_the_projector_refuses_as_the_file_would(tmp_path: Path):
    async with projecting(MemoryLog(), tmp_path) as bus:
        with pytest.raises(QueryRefused) as refusal:
            await ask_projector(bus, Question(sql="with d as (delete from events returning *) from d"))
        assert refusal.value.reason == "writes"
        with pytest.raises(QueryRefused, match="not a question"):
            raise_if_refused(await bus.ask(QUERIES, b"{nonsense", timeout_s=5.0))


def raise_if_refused(reply: bytes) -> None:
    assert b'"refused"' in reply
    raise QueryRefused("not_a_question", reply.decode())


async def test_a_running_projector_rebuilds_on_request(tmp_path: Path):
    log = MemoryLog()
    await tell_run(log.store)
    async with projecting(log, tmp_path) as bus:
        checkpoint = await ask_rebuild(bus)
        found = await ask_projector(bus, Question(sql="select count(*) from events"))
    assert found.rows == [[checkpoint.events]]


async def test_asking_nobody_is_told_at_once():
    with pytest.raises(StoreUnavailable):
        await ask_projector(MemoryLog().bus, Question(sql="select 1"))


async def test_a_rebuild_that_fails_says_why(tmp_path: Path):
    log = MemoryLog()
    await tell_run(log.store)
    async with projecting(log, tmp_path) as bus:
        head = (await log.store.identity()).last_position
        await ask_projector(bus, Question(sql="select 1", min_position=head))
        log.store._log[3] = log.store._log[2]  # pyright: ignore[reportPrivateUsage]
        with pytest.raises(ProjectorFailed, match="position 4"):
            await ask_rebuild(bus)
        assert (await ask_projector(bus, Question(sql="select count(*) > 0 from events"))).rows == [[True]]


@asynccontextmanager
async def on_a_server(folder: Path) -> AsyncIterator[Oona]:
    """Yield a log on a server of its own, with a projector at work on it."""
    place = Place.at(folder)
    server = LocalServer(place.nats)
    await server.start()
    try:
        async with open_log(server.url, keys=place.keys, types=EVENTS, commands=COMMANDS) as log:
            projector = asyncio.create_task(run_projector(log, place))
            try:
                await answering(log.bus)
                yield log
            finally:
                projector.cancel()
                await asyncio.wait({projector})
    finally:
        await server.stop()


async def test_a_result_larger_than_a_message_arrives_whole(tmp_path: Path):
    async with on_a_server(tmp_path) as log:
        sql = "select range as n, hash(range)::varchar as word from range(200000)"
        found = await ask_frame(log.bus, Question(sql=sql))
        rows = table(found.arrow)
        assert len(found.arrow) > 3 * 2**20
        assert rows.column("n").to_pylist() == list(range(200_000))
        with pytest.raises(ProjectorFailed, match="larger than 64 MiB"):
            await ask_frame(log.bus, Question(sql="select hash(range)::varchar from range(5000000)"))


async def test_a_result_that_was_given_up_for_newer_ones_is_a_named_error(tmp_path: Path):
    async with on_a_server(tmp_path) as log:
        data = msgspec.json.encode(FetchChunk(token="0" * 32, offset=0))
        assert b'"gone"' in await log.bus.ask(CHUNKS, data, timeout_s=5.0)


async def test_over_the_wire_questions_meet_their_limits_by_name(tmp_path: Path):
    async with on_a_server(tmp_path) as log:
        bus = log.bus
        cut = await ask_projector(bus, Question(sql="from range(1000)", rows=10))
        assert (len(cut.rows), cut.truncated) == (10, True)
        with pytest.raises(QueryTimedOut):
            await ask_projector(bus, Question(sql="select sum(range) from range(100000000000)", seconds=0.2))
        with pytest.raises(QueryRefused) as hungry:
            await ask_projector(bus, Question(sql="select list(range) from range(1000000000)"))
        assert hungry.value.reason == "too_much_memory"
        with pytest.raises(PositionNotReached) as early:
            await ask_projector(bus, Question(sql="select 1", min_position=10**6, wait_s=0.05))
        assert early.value.asked == 10**6
        assert (await ask_projector(bus, Question(sql="select 1"))).rows == [[1]]


async def test_a_writer_reads_its_own_write(tmp_path: Path):
    async with on_a_server(tmp_path) as log:
        await tell_run(log.store)
        head = (await log.store.identity()).last_position
        count = Question(sql="select max(position) from events", min_position=head)
        assert (await ask_projector(log.bus, count)).rows == [[head]]
        then = Question(sql="select max(position) from events", at=head - 3)
        assert (await ask_projector(log.bus, then)).rows == [[head - 3]]


async def test_a_database_that_keeps_failing_is_left_alone_and_bad_questions_do_not_count(tmp_path: Path):
    log, place = MemoryLog(), Place.at(tmp_path)
    await tell_run(log.store)
    await rebuild(log.store, place.database, CATALOGUE)
    damage(place.database)
    async with projecting(log, tmp_path) as bus:
        for _ in range(5):
            with pytest.raises(QueryRefused):
                await ask_projector(bus, Question(sql="select nothing from many"))
        for _ in range(3):
            with pytest.raises(ProjectionsBroken):
                await ask_projector(bus, Question(sql="select max(word) from many"))
        with pytest.raises(BreakerOpen, match=BREAKER_NAME):
            await ask_projector(bus, Question(sql="select 1"))
        changes = await log.store.read_stream(StreamName("breaker", BREAKER_NAME))
        assert [type(change.event).__name__ for change in changes] == ["BreakerStateChanged"]
        assert (await ask_rebuild(bus)).position > 0


async def start_projector(url: str, folder: Path) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.actors.projector_process", url, str(folder), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    async with asyncio.timeout(START_WAIT_S):
        assert await process.stdout.readline() == b"ready\n"
    return process


async def kill(process: asyncio.subprocess.Process, after_s: float) -> None:
    try:
        async with asyncio.timeout(after_s):
            await process.wait()
    except TimeoutError:
        process.kill()
    assert await process.wait() == -signal.SIGKILL


async def killed_again_and_again(log: Oona, url: str, folder: Path, moments: random.Random, rounds: int) -> None:
    """Run a projector that is killed at random moments while runs are written, then let one catch up and kill it."""
    for round_number in range(rounds):
        process = await start_projector(url, folder)
        async with asyncio.TaskGroup() as group:
            group.create_task(kill(process, moments.uniform(0.0, 0.5)))
            group.create_task(tell_run(log.store, f"{round_number:032x}"))
    process = await start_projector(url, folder)
    await answering(log.bus)
    head = (await log.store.identity()).last_position
    last = await ask_projector(log.bus, Question(sql="select 1", min_position=head, wait_s=START_WAIT_S), timeout_s=60)
    assert last.position >= head
    await kill(process, 0.0)


@pytest.mark.parametrize("rounds", [ROUNDS, pytest.param(ROUNDS_ASKED_FOR, marks=pytest.mark.slow)])
async def test_killed_at_random_moments_its_tables_equal_a_rebuilds(tmp_path: Path, rounds: int):
    place = Place.at(tmp_path / "esper")
    server = LocalServer(place.nats)
    await server.start()
    try:
        async with open_log(server.url, keys=place.keys, types=EVENTS, commands=COMMANDS) as log:
            await killed_again_and_again(log, server.url, place.folder, random.Random(20), rounds)
            fresh = place.folder / "fresh.duckdb"
            checkpoint = await rebuild(log.store, fresh, CATALOGUE)
            events = [event async for event in log.store.read_all()]
    finally:
        await server.stop()
    with open_file(place.database) as live, open_file(fresh) as rebuilt:
        assert content_hash(live) == content_hash(rebuilt)
        assert live.execute("SELECT count(*) FROM events").fetchone() == (len(events),) == (checkpoint.events,)


async def test_killed_while_it_rebuilds_for_a_new_version_it_begins_again_and_the_old_file_is_whole(tmp_path: Path):
    place = Place.at(tmp_path / "esper")
    server = LocalServer(place.nats)
    await server.start()
    try:
        async with open_log(server.url, keys=place.keys, types=EVENTS, commands=COMMANDS) as log:
            for number in range(3):
                await tell_run(log.store, f"{number:032x}")
            await rebuild(log.store, place.database, Catalogue((CATALOGUE.projections[0],)))
            process = await start_projector(server.url, place.folder)
            await building(place)
            await kill(process, 0.0)
            assert building_path(place.database).exists()
            with open_file(place.database) as old:
                assert set(content_hash(old)) == set(CATALOGUE.projections[0].tables)
            process = await start_projector(server.url, place.folder)
            assert await rebuilt(log.bus) > 0
            await kill(process, 0.0)
    finally:
        await server.stop()


async def building(place: Place) -> None:
    async with asyncio.timeout(START_WAIT_S):
        while not await asyncio.to_thread(building_path(place.database).exists):
            pass


async def rebuilt(bus: QueryBus) -> int:
    """Ask until the tables of the new version answer, and return how many gates there were."""
    async with asyncio.timeout(START_WAIT_S):
        while True:
            try:
                found = await ask_projector(bus, Question(sql="select count(*) from gate_checks"), timeout_s=5.0)
            except (StoreUnavailable, QueryRefused):
                await asyncio.sleep(0)
            else:
                return int(str(found.rows[0][0]))
