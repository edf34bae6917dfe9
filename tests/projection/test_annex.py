"""Tables that are no record: asked with the projections, in no hash of theirs, forgotten in time."""

from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import msgspec
import pytest

from actors.projector import ANNEX, CATALOGUE
from esper.leyline.registry import EVENTS
from eventstore.memory import MemoryStore
from eventstore.projection.annex import add, annex_path, forget, heard
from eventstore.projection.declare import Annex, Catalogue, Retention
from eventstore.projection.errors import QueryRefused
from eventstore.projection.file import open_file
from eventstore.projection.query import answer
from eventstore.projection.rebuild import content_hash, rebuild
from eventstore.projection.runner import catch_up
from eventstore.projection.sink import Sink
from tests.projection.history import tell_run

NOON = datetime(2026, 1, 31, 12)
WEATHER = Annex(
    name="weather",
    tables={"readings": {"noted": "TIMESTAMP", "celsius": "DOUBLE"}},
    kept=(Retention(table="readings", column="noted", days=3, rows=4),),
)


def catalogue(annex: Annex = WEATHER) -> Catalogue:
    return msgspec.structs.replace(CATALOGUE, annex=annex)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "projections.duckdb"


@pytest.fixture
def sink(database: Path) -> Iterator[Sink]:
    with closing(Sink(database, catalogue())) as sink:
        yield sink


def read(sink: Sink) -> list[list[object]]:
    return answer(sink.connection, "select celsius from weather.readings order by noted").rows


def note(sink: Sink, *celsius: float, position: int = 1, at: datetime = NOON) -> None:
    rows = [(at + timedelta(seconds=number), value) for number, value in enumerate(celsius)]
    with sink.connection.cursor() as cursor:
        add(cursor, WEATHER, {"readings": rows}, position)


def test_rows_and_position_outlive_the_process(sink: Sink, database: Path):
    note(sink, 1.5, 2.5, position=7)
    sink.close()
    with closing(Sink(database, catalogue())) as again:
        assert (read(again), heard(again.connection.cursor(), WEATHER)) == ([[1.5], [2.5]], 7)


def test_a_batch_that_fails_leaves_neither_rows_nor_its_position(sink: Sink):
    note(sink, 1.5, position=1)
    with sink.connection.cursor() as cursor, pytest.raises(duckdb.Error):
        add(cursor, WEATHER, {"readings": [(NOON, 9.0)], "no_such_table": [(1,)]}, 2)
    assert (read(sink), heard(sink.connection.cursor(), WEATHER)) == ([[1.5]], 1)


def test_what_is_old_and_what_is_too_much_is_forgotten(sink: Sink):
    note(sink, 0.0, 0.1, at=NOON - timedelta(days=4))
    note(sink, *range(6))
    with sink.connection.cursor() as cursor:
        assert forget(cursor, WEATHER, NOON) == {"readings": 4}
        assert forget(cursor, WEATHER, NOON) == {}
    assert read(sink) == [[2.0], [3.0], [4.0], [5.0]]


def test_a_question_can_neither_write_to_it_nor_open_another_file(sink: Sink):
    note(sink, 1.5)
    for sql in ("delete from weather.readings", "select * from read_csv('/etc/passwd')", "attach 'x.duckdb'"):
        with pytest.raises(QueryRefused):
            answer(sink.connection, sql)
    assert read(sink) == [[1.5]]


@pytest.mark.parametrize("damage", [b"no database", b""])
def test_a_damaged_file_is_made_anew_and_the_projections_open_all_the_same(sink: Sink, database: Path, damage: bytes):
    note(sink, 1.5)
    sink.close()
    annex_path(database, WEATHER).write_bytes(damage)
    with closing(Sink(database, catalogue())) as again:
        assert read(again) == []


def test_other_columns_begin_anew(sink: Sink, database: Path):
    note(sink, 1.5)
    sink.close()
    wider = msgspec.structs.replace(WEATHER, tables={"readings": {"noted": "TIMESTAMP", "celsius": "FLOAT"}})
    with closing(Sink(database, catalogue(wider))) as again:
        assert read(again) == []


async def test_a_rebuild_gives_the_same_hashes_and_leaves_the_annex_as_it_is(database: Path):
    store = MemoryStore(EVENTS)
    await tell_run(store)
    with closing(Sink(database, CATALOGUE)) as sink:
        await catch_up(store, sink)
        rows = [("r", "tolaria", "m", "", "", 1, 1, NOON, 2.0)]
        add(sink.connection.cursor(), ANNEX, {"points": rows}, 3)
    with closing(open_file(database)) as file:
        before = content_hash(file)
    await rebuild(store, database, CATALOGUE)
    with closing(open_file(database)) as file:
        assert content_hash(file) == before
    with closing(Sink(database, CATALOGUE)) as sink:
        assert answer(sink.connection, "select metric, value, step from telemetry.latest").rows == [["m", 2.0, 1]]
        assert content_hash(sink.connection) == before
