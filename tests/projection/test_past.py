"""The past of every table and view, as a filter, is what a file folded up to there holds."""

from pathlib import Path

import duckdb
import msgspec
import pytest

from actors.projector import CATALOGUE
from eventstore.memory import MemoryStore
from eventstore.projection.errors import PositionNotReached, QueryRefused
from eventstore.projection.query import DEFAULT_LIMITS, Past, answer
from eventstore.projection.sink import Sink

NAMES = [*CATALOGUE.tables, *(view.name for view in CATALOGUE.views)]


def test_every_table_says_where_its_rows_come_from():
    assert [name for name, columns in CATALOGUE.tables.items() if columns.get("position") != "BIGINT"] == []


def test_every_view_keeps_its_name_for_itself():
    assert len(set(NAMES)) == len(NAMES)


def contents(connection: duckdb.DuckDBPyConnection, past: Past | None = None) -> dict[str, list[list[object]]]:
    asked = {name: f"select * from {name} order by all" for name in NAMES}  # noqa: S608 names of ours
    return {name: answer(connection, sql, DEFAULT_LIMITS, past).rows for name, sql in asked.items()}


@pytest.mark.parametrize("position", [1, 13, 26, 39])
async def test_tables_and_views_are_what_a_fold_up_to_there_gives(
    filled: Sink, store: MemoryStore, tmp_path: Path, position: int
):
    folded = Sink(tmp_path / "folded.duckdb", msgspec.structs.replace(CATALOGUE, annex=None))
    folded.bind(await store.identity())
    folded.write([event async for event in store.read_all(until=position)])
    try:
        then = contents(filled.connection, Past(position, CATALOGUE))
        assert then == contents(folded.connection)
        assert then != contents(filled.connection)
    finally:
        folded.close()


async def test_an_answer_from_the_past_names_its_position_and_leaves_the_present_alone(filled: Sink):
    found = answer(filled.connection, "select max(position) from events", DEFAULT_LIMITS, Past(5, CATALOGUE))
    assert (found.position, found.rows) == (5, [[5]])
    head = filled.checkpoint.position
    assert answer(filled.connection, "select max(position) from events").rows == [[head]]


async def test_what_is_not_past_yet_is_refused(filled: Sink):
    head = filled.checkpoint.position
    with pytest.raises(PositionNotReached, match=f"position {head + 1}"):
        answer(filled.connection, "select 1", DEFAULT_LIMITS, Past(head + 1, CATALOGUE))


async def test_the_past_cannot_be_written_either(filled: Sink):
    with pytest.raises(QueryRefused) as refusal:
        answer(filled.connection, "delete from events", DEFAULT_LIMITS, Past(5, CATALOGUE))
    assert refusal.value.reason == "not_a_question"
