"""Rows and checkpoint move together, once."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import duckdb
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.projector import CATALOGUE
from esper.leyline.registry import EVENTS
from eventstore.errors import LogCorrupt, LogReplaced
from eventstore.memory import MemoryStore
from eventstore.projection.batches import Batching
from eventstore.projection.declare import Catalogue
from eventstore.projection.errors import ProjectionsBusy
from eventstore.projection.file import open_file
from eventstore.projection.rebuild import building_path, content_hash, open_for, rebuild
from eventstore.projection.runner import catch_up
from eventstore.projection.sink import Sink
from eventstore.store import LogIdentity, Recorded
from tests.projection.history import tell_run


async def recorded(store: MemoryStore) -> list[Recorded]:
    return [event async for event in store.read_all()]


def events_in(sink: Sink) -> int:
    found = sink.connection.cursor().execute("SELECT count(*) FROM events").fetchone()
    assert found is not None
    return int(found[0])


async def test_every_event_becomes_a_row_and_the_checkpoint_is_the_logs_head(store: MemoryStore, filled: Sink):
    events = await recorded(store)
    assert events_in(filled) == len(events) == filled.checkpoint.events
    assert (filled.checkpoint.position, filled.checkpoint.index) == (events[-1].position, events[-1].index)


async def test_a_redelivered_batch_adds_nothing(store: MemoryStore, filled: Sink):
    before, events = content_hash(filled.connection.cursor()), await recorded(store)
    filled.write(events[:30])
    filled.write(events)
    assert content_hash(filled.connection.cursor()) == before


async def test_a_batch_that_overlaps_adds_only_what_is_new(store: MemoryStore, sink: Sink):
    events = await recorded(store)
    sink.bind(await store.identity())
    for start, end in ((0, 20), (5, 40), (39, len(events))):
        sink.write(events[start:end])
    assert events_in(sink) == len(events)


async def test_a_batch_that_leaves_a_gap_is_refused_and_leaves_nothing_behind(store: MemoryStore, sink: Sink):
    events = await recorded(store)
    sink.bind(await store.identity())
    sink.write(events[:10])
    with pytest.raises(LogCorrupt, match="gap"):
        sink.write(events[12:])
    assert events_in(sink) == 10


@dataclass
class Bent:
    """A projection whose rows fail to fit its table from one position on."""

    name: str = "bent"
    version: int = 1
    from_position: int = 5

    @property
    def tables(self) -> dict[str, dict[str, str]]:
        return {"numbers": {"position": "BIGINT"}}

    def rows(self, recorded: Recorded, /) -> list[tuple[str, dict[str, object]]]:
        bent = recorded.position >= self.from_position
        return [("numbers", {"position": "not a number" if bent else recorded.position})]


async def test_a_batch_that_fails_half_way_leaves_rows_and_checkpoint_as_they_were(store: MemoryStore, path: Path):
    sink = Sink(path, Catalogue((*CATALOGUE.projections, Bent())))
    events = await recorded(store)
    sink.write(events[:3])
    before, hashes = sink.checkpoint, content_hash(sink.connection.cursor())
    with pytest.raises(duckdb.ConversionException):
        sink.write(events)
    assert (sink.checkpoint, content_hash(sink.connection.cursor())) == (before, hashes)
    sink.close()
    assert Sink(path, Catalogue((*CATALOGUE.projections, Bent()))).checkpoint == before


def test_a_second_process_cannot_own_the_file(sink: Sink):
    # In one process DuckDB shares the file, so the lock is shown by a child.
    opening = f"from pathlib import Path; from eventstore.projection.file import *; open_file(Path({str(sink.path)!r}))"
    child = subprocess.run([sys.executable, "-c", opening], capture_output=True, text=True, check=False)
    assert ProjectionsBusy.__name__ in child.stderr


@settings(
    max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(sizes=st.lists(st.integers(1, 40), min_size=1, max_size=6), batch=st.integers(3, 50))
async def test_any_batches_give_what_a_rebuild_gives(tmp_path_factory: pytest.TempPathFactory, sizes: list[int], batch):
    folder = tmp_path_factory.mktemp("batches")
    store = MemoryStore(EVENTS)
    await tell_run(store)
    events = await recorded(store)
    live = Sink(folder / "live.duckdb", CATALOGUE)
    live.bind(await store.identity())
    start = 0
    for size in [*sizes, len(events)]:
        live.write(events[start : start + size])
        start += size
    await rebuild(store, folder / "fresh.duckdb", CATALOGUE, Batching(events=batch))
    fresh = Sink(folder / "fresh.duckdb", msgspec.structs.replace(CATALOGUE, annex=None))
    assert content_hash(live.connection.cursor()) == content_hash(fresh.connection.cursor())
    assert fresh.checkpoint == live.checkpoint
    live.close()
    fresh.close()


async def test_the_content_hash_ignores_order_and_sees_a_changed_row(filled: Sink):
    cursor = filled.connection.cursor()
    before = content_hash(cursor)
    cursor.execute("CREATE TABLE shuffled AS SELECT * FROM host_epochs ORDER BY position DESC")
    cursor.execute("DELETE FROM host_epochs")
    cursor.execute("INSERT INTO host_epochs SELECT * FROM shuffled")
    cursor.execute("DROP TABLE shuffled")
    assert content_hash(cursor) == before
    cursor.execute("UPDATE host_epochs SET train_loss = train_loss + 1e-9 WHERE epoch = 3")
    changed = {table for table, digest in content_hash(cursor).items() if digest != before[table]}
    assert changed == {"host_epochs"}


@pytest.mark.parametrize(
    ("identity", "why"),
    [
        (lambda log: LogIdentity(log.created_ns + 1, 1, log.last_position), "created at"),
        (lambda log: LogIdentity(log.created_ns, 1, log.last_position - 1), "ends at"),
        (lambda log: LogIdentity(log.created_ns, log.last_position + 2, log.last_position + 9), "begins at"),
    ],
)
async def test_a_recreated_shortened_or_truncated_log_is_refused(store: MemoryStore, filled: Sink, identity, why: str):
    with pytest.raises(LogReplaced, match=why):
        filled.bind(identity(await store.identity()))


async def test_another_log_with_the_same_identity_is_recognised_by_its_events(store: MemoryStore, filled: Sink):
    other = MemoryStore(EVENTS)
    await tell_run(other, "e" * 32)
    with pytest.raises(LogReplaced, match="event"):
        filled.write([event async for event in other.read_all(after=filled.checkpoint.resume_after)])


async def test_a_replaced_log_is_never_projected_into_the_old_file(filled: Sink, path: Path):
    filled.close()
    other = MemoryStore(EVENTS)
    await tell_run(other)
    with pytest.raises(LogReplaced):
        await open_for(other, path, CATALOGUE)


async def test_a_changed_projection_is_rebuilt_from_the_beginning(store: MemoryStore, path: Path):
    first = await open_for(store, path, Catalogue((CATALOGUE.projections[0],)))
    await catch_up(store, first)
    first.close()
    second = await open_for(store, path, CATALOGUE)
    assert events_in(second) == second.checkpoint.events == len(await recorded(store))
    assert "gate_checks" in content_hash(second.connection.cursor())
    second.close()


@pytest.fixture
def half_built(path: Path) -> Path:
    building = building_path(path)
    building.write_bytes(b"half a database")
    building.with_name(building.name + ".wal").write_bytes(b"half a log")
    return path


async def test_what_a_killed_rebuild_left_behind_does_not_matter(store: MemoryStore, half_built: Path):
    assert (await rebuild(store, half_built, CATALOGUE)).position == (await store.identity()).last_position
    with open_file(half_built) as connection:
        assert "events" in content_hash(connection)


@pytest.fixture
def damaged(path: Path) -> Path:
    path.write_bytes(b"not a database" * 1000)
    return path


async def test_a_damaged_file_is_replaced_by_a_rebuild(store: MemoryStore, damaged: Path):
    checkpoint = await rebuild(store, damaged, CATALOGUE)
    assert checkpoint.position == (await store.identity()).last_position
    with open_file(damaged) as connection:
        assert "events" in content_hash(connection)
