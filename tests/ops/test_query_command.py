"""`esper query` and `esper project`, with the stack down."""

import shutil
from pathlib import Path

import pytest

from eventstore.projection.file import open_file
from eventstore.projection.query import answer
from ops.cli.examples import EXAMPLES
from ops.cli.main import run
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


def test_an_answer_comes_as_markdown(esper: Esper) -> None:
    ran = esper("query", "select 1.5 as a, 'x|y' as b, [1, null] as c, null as d", "--markdown")
    assert ran.out == "| a | b | c | d |\n| --- | --- | --- | --- |\n| 1.5 | x\\|y | [1,null] |  |\n"


def test_columns_of_one_name_are_all_in_the_json(esper: Esper) -> None:
    assert esper("query", "select 1 as n, 2 as n", "--json").rows() == [{"n": 1, "n_1": 2}]


def test_a_file_may_hold_several_questions(esper: Esper, tmp_path: Path) -> None:
    file = tmp_path / "questions.sql"
    file.write_text("-- how many?\nselect 1 as a;\n\nselect 2 as b -- the last needs no semicolon\n")
    assert esper("query", "-f", str(file), "--csv").out == "a\n1\n\nb\n2\n"


@pytest.mark.parametrize(
    "arguments", [["select 1", "-f", "x.sql"], ["-f", "missing.sql"], ["select 1", "--csv", "--json"]]
)
def test_what_contradicts_itself_is_wrong_usage(esper: Esper, arguments: list[str]) -> None:
    ran = esper("query", *arguments)
    assert (ran.code, ran.out) == (2, "")


def test_the_past_is_answered_as_it_was(esper: Esper) -> None:
    sql = "select kept, culled, last_position from run_summary"
    assert esper("query", sql, "--at", "10", "--json").rows() == [{"kept": 0, "culled": 0, "last_position": 10}]


def test_the_future_is_refused_with_how_far_the_log_reaches(esper: Esper) -> None:
    ran = esper("query", "select 1", "--at", "99")
    assert (ran.code, ran.out) == (2, "")
    assert "reached: 35" in ran.err


@pytest.mark.parametrize("sql", [sql for _, sql in EXAMPLES])
def test_every_example_is_answered(projected: Path, sql: str) -> None:
    with open_file(projected) as connection:
        assert answer(connection, sql).columns


@pytest.fixture(scope="module")
def projected(told: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the told log's projections, as nobody else may have them open."""
    assert run(["project", "--folder", str(told)]) == 0
    return Path(shutil.copy(told / "projections.duckdb", tmp_path_factory.mktemp("projected")))


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
    assert "\nhint: " in ran.err


def test_a_name_that_is_not_there_is_answered_with_where_to_look(esper: Esper) -> None:
    assert "esper query --list" in esper("query", "select * from no_such_view").err


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
