"""User SQL can ask everything and change nothing."""

from pathlib import Path

import duckdb
import pytest

from eventstore.projection.errors import ProjectionsMissing, QueryRefused, QueryTimedOut
from eventstore.projection.file import open_file
from eventstore.projection.query import Limits, answer
from eventstore.projection.rebuild import content_hash
from eventstore.projection.sink import Sink

FORBIDDEN = {
    "delete from events": "not_a_question",
    "with gone as (delete from events returning *) select count(*) from gone": "writes",
    "explain analyze delete from events": "writes",
    "insert into events (position) values (1) returning *": "not_a_question",
    "update events set position = 0": "not_a_question",
    "drop table events": "not_a_question",
    "create table mine as select 1": "not_a_question",
    "create temp table mine (a int)": "not_a_question",
    "copy events to '{folder}/stolen.csv'": "not_a_question",
    "attach '{folder}/other.duckdb'": "not_a_question",
    "select * from read_csv('{folder}/secret.csv')": "outside_access",
    "select * from read_parquet('{folder}/secret.parquet')": "outside_access",
    "select * from read_text('{folder}/secret.csv')": "outside_access",
    "select * from glob('{folder}/*')": "outside_access",
    "select * from '{folder}/secret.csv'": "outside_access",
    "set threads = 4": "not_a_question",
    "pragma threads = 4": "not_a_question",
    "install httpfs": "not_a_question",
    "load json": "not_a_question",
    "checkpoint": "not_a_question",
    "begin": "not_a_question",
    "commit": "not_a_question",
    "prepare p as delete from events": "not_a_question",
    "export database '{folder}/all'": "not_a_question",
    "select 1; select 2": "not_one_statement",
    "select 1; delete from events": "not_one_statement",
    "": "not_one_statement",
    "-- nothing": "not_one_statement",
    "selekt 1": "not_sql",
    "select * from nowhere": "unknown_name",
    "select nothing from events": "unknown_name",
    "select 'a'::int": "failed",
    "select * from read_text('/etc/passwd')": "outside_access",
    "select * from read_blob('/etc/passwd')": "outside_access",
    "select * from read_json('/etc/passwd')": "outside_access",
    "select * from read_duckdb('{folder}/secret.csv')": "outside_access",
    "select * from sniff_csv('{folder}/secret.csv')": "outside_access",
    "select * from parquet_metadata('{folder}/secret.csv')": "outside_access",
    "select * from query('from read_text(''{folder}/secret.csv'')')": "outside_access",
    "select * from query('delete from events')": "not_sql",
    "explain analyze select * from read_text('{folder}/secret.csv')": "outside_access",
    "copy (select 1) to '{folder}/stolen.parquet' (format parquet)": "not_a_question",
    "copy events from '{folder}/secret.csv'": "not_a_question",
    "import database '{folder}'": "not_a_question",
    "call enable_logging(storage = 'file', storage_path = '{folder}/log')": "not_a_question",
    "select * from enable_logging(storage = 'file', storage_path = '{folder}/log')": "failed",
    "select * from enable_profiling()": "failed",
    "set enable_external_access = true": "not_a_question",
    "reset lock_configuration": "not_a_question",
    "pragma enable_profiling": "not_a_question",
    "select getenv('HOME')": "unknown_name",
    "select * from pragma_database_list()": "unknown_name",
    "select * from force_checkpoint()": "writes",
    "select * from duckdb_secrets()": "outside_access",
    "create secret s (type s3)": "not_a_question",
    "create macro m() as 1": "not_a_question",
    "use system": "not_a_question",
    "use main": "not_a_question",
    "detach projections": "not_a_question",
    "vacuum": "not_a_question",
    "select " + "(" * 5000 + "1" + ")" * 5000: "not_sql",
    "select " + "1 + " * 100_000 + "1": "not_sql",
    "select list(range) from range(1000000000)": "too_much_memory",
}
RUNAWAYS = (
    "select count(*) from range(1000000) a, range(1000000) b",
    "with recursive t as (select 1 as n union all select n + 1 from t) select max(n) from t",
    "select sum(range) from range(100000000000)",
    "select * from range(100000000) order by hash(range)",
    "select sleep_ms(100000)",
)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    (tmp_path / "secret.csv").write_text("word\nxyzzy\n")
    return tmp_path


def listing(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


@pytest.mark.parametrize("sql", FORBIDDEN, ids=lambda sql: sql[:60])
async def test_what_is_not_one_harmless_question_is_refused_and_changes_nothing(filled: Sink, secret: Path, sql: str):
    before, files = content_hash(filled.connection.cursor()), listing(secret)
    with pytest.raises(QueryRefused) as refusal:
        answer(filled.connection, sql.format(folder=secret))
    assert refusal.value.reason == FORBIDDEN[sql]
    assert "xyzzy" not in str(refusal.value)
    assert content_hash(filled.connection.cursor()) == before
    assert listing(secret) == files


@pytest.mark.parametrize("sql", ["delete from events", "with d as (delete from events returning *) from d"])
async def test_a_file_opened_for_questions_cannot_be_written_either(filled: Sink, sql: str):
    filled.close()
    with open_file(filled.path) as connection:
        before = content_hash(connection)
        with pytest.raises(QueryRefused):
            answer(connection, sql)
        assert content_hash(connection) == before
        with pytest.raises(duckdb.Error):
            connection.execute("SET enable_external_access = true")


def test_a_missing_file_is_named(path: Path):
    with pytest.raises(ProjectionsMissing, match=r"projections\.duckdb"):
        open_file(path)


@pytest.mark.parametrize(
    "sql", ["select 1", "from events", "explain select 1", "describe events", "show tables", "values (1);"]
)
async def test_questions_are_answered(filled: Sink, sql: str):
    assert answer(filled.connection, sql).rows


async def test_an_answer_names_its_columns_and_the_position_it_knows(filled: Sink):
    found = answer(filled.connection, "select count(*) as events, max(position) as head from events")
    assert found.columns == ("events", "head")
    assert found.rows == [[filled.checkpoint.events, filled.checkpoint.position]]
    assert found.position == filled.checkpoint.position
    assert not found.truncated


async def test_an_answer_stops_at_its_row_limit_and_says_so(filled: Sink):
    found = answer(filled.connection, "select * from range(1000)", Limits(rows=10))
    assert (len(found.rows), found.truncated) == (10, True)
    assert not answer(filled.connection, "select * from range(10)", Limits(rows=10)).truncated


async def test_an_answer_stops_at_its_size_limit_and_says_so(filled: Sink):
    found = answer(filled.connection, "select repeat('x', 1000) from range(1000)", Limits(answer_bytes=50_000))
    assert (len(found.rows), found.truncated) == (49, True)


@pytest.mark.parametrize("sql", RUNAWAYS)
async def test_a_question_is_stopped_at_its_time_limit(filled: Sink, sql: str):
    with pytest.raises(QueryTimedOut, match=r"0\.2 s"):
        answer(filled.connection, sql, Limits(seconds=0.2))
    assert answer(filled.connection, "select 1").rows == [[1]]


async def test_values_that_json_lacks_become_text_or_null(filled: Sink):
    values = ("9223372036854775807", "timestamp '2026-01-02 03:04:05'", "[1, null]", "{'a': 1.5::decimal(3,1)}")
    sql = f"select {', '.join(values)}"
    (row,) = answer(filled.connection, sql).rows
    assert row == ["9223372036854775807", "2026-01-02T03:04:05", [1, None], {"a": 1.5}]
