"""`esper query` and `esper project`, with the stack down."""

import shutil
from pathlib import Path

import pytest

from tests.ops.conftest import Esper


def test_the_views_are_listed_with_their_help(esper: Esper) -> None:
    views = {row["view"]: row["answers"] for row in esper("query", "--list", "--json").rows()}
    asked_for = {"run_summary", "seed_lifecycle", "decisions", "kernel_catalogue", "compile_jobs", "field_reports"}
    assert asked_for <= views.keys()
    assert all(views.values())


def test_a_question_is_answered_up_to_the_end_of_the_log(esper: Esper) -> None:
    sql = "select kept, culled, last_position from run_summary"
    assert esper("query", sql, "--json").rows() == [{"kept": 1, "culled": 1, "last_position": 35}]


def test_an_answer_comes_as_csv(esper: Esper) -> None:
    assert esper("query", "select 1 as a, 'x,y' as b", "--csv").out == 'a,b\n1,"x,y"\n'


@pytest.mark.parametrize(
    "sql",
    [
        "delete from events",
        "with gone as (delete from events returning *) select * from gone",
        "copy events to 'out.csv'",
        "attach 'other.duckdb'",
        "select * from read_csv('/etc/passwd')",
        "select 1; select 2",
        "select * from no_such_view",
    ],
)
def test_a_query_that_is_not_one_harmless_question_is_refused(esper: Esper, sql: str) -> None:
    ran = esper("query", sql)
    assert ran.code == 2
    assert ran.out == ""
    assert "esper query --list" in ran.err


def test_no_question_is_wrong_usage(esper: Esper) -> None:
    assert esper("query").code == 2


def test_a_rebuild_gives_the_same_digests(esper: Esper) -> None:
    (live,) = esper("project", "--json").rows()
    (rebuilt,) = esper("project", "--rebuild", "--json").rows()
    assert rebuilt == live
    assert rebuilt["position"] == 35


def test_without_a_log_the_file_still_answers(esper: Esper, told: Path, tmp_path: Path) -> None:
    esper("query", "select 1")
    shutil.copy(told / "projections.duckdb", tmp_path)
    ran = esper("query", "select count(*) as n from events", "--json", "--folder", str(tmp_path))
    assert ran.rows() == [{"n": 47}]
    assert "no log here" in ran.err
