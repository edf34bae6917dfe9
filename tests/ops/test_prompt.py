"""The prompt of `esper query`: line by line, and once on a real terminal."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from eventstore.projection.errors import QueryRefused
from eventstore.projection.query import Answer
from ops.cli.prompt import Prompt


class Oracle:
    """Answers with what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int | None]] = []

    def __call__(self, sql: str, at: int | None) -> Answer:
        self.asked.append((sql, at))
        if "nowhere" in sql:
            raise QueryRefused("unknown_name", "there is no nowhere")
        return Answer(columns=("n",), rows=[[len(self.asked)]], position=7)


@pytest.fixture
def oracle() -> Oracle:
    return Oracle()


@pytest.fixture
def prompt(oracle: Oracle) -> Prompt:
    return Prompt(oracle, (("run_summary", "One row per run."),))


def take(prompt: Prompt, *lines: str) -> None:
    for line in lines:
        prompt.take(line)


def test_a_question_ends_with_a_semicolon_or_an_empty_line(prompt: Prompt, oracle: Oracle) -> None:
    take(prompt, "select 1", "from events;", "select 2", "", "")
    assert oracle.asked == [("select 1\nfrom events;", None), ("select 2", None)]


def test_the_position_holds_until_it_is_taken_back(prompt: Prompt, oracle: Oracle) -> None:
    take(prompt, ".at 41", "select 1;", ".at never", ".at now", "select 2;")
    assert oracle.asked == [("select 1;", 41), ("select 2;", None)]
    assert prompt.sign == "esper> "


def test_an_error_is_told_with_a_hint_and_the_next_question_is_answered(
    prompt: Prompt, oracle: Oracle, capsys: pytest.CaptureFixture[str]
) -> None:
    take(prompt, "select * from nowhere;", "select 1;")
    printed = capsys.readouterr()
    assert "hint: the views there are" in printed.err
    assert printed.out == "n\n2\n"


def test_the_mode_changes_how_answers_look(prompt: Prompt, capsys: pytest.CaptureFixture[str]) -> None:
    take(prompt, ".mode json", "select 1;", ".mode nonsense", "select 1;")
    assert capsys.readouterr().out == '{"n":1}\n{"n":2}\n'


def test_views_and_examples_are_shown(prompt: Prompt, capsys: pytest.CaptureFixture[str]) -> None:
    take(prompt, ".views", ".examples", ".nonsense")
    printed = capsys.readouterr()
    assert "One row per run." in printed.out
    assert "from run_summary" in printed.err
    assert "no command .nonsense" in printed.err


def test_a_schema_is_asked_for_by_one_quoted_name(prompt: Prompt, oracle: Oracle) -> None:
    take(prompt, '.schema run"; drop table events')
    assert oracle.asked[0][0] == 'select column_name, column_type from (describe "run""; drop table events")'


def test_quit_ends_it(prompt: Prompt) -> None:
    take(prompt, ".quit")
    assert prompt.over


def test_on_a_terminal_it_answers_and_remembers(told: Path, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "ops.cli.main", "query", "--folder", str(told)]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, close_fds=True) as process:
        os.close(theirs)
        os.write(ours, b".at 10\nselect 6 * 7 as answer, max(position) as head from events;\n.schema gates\n.quit\n")
        shown = read_all(ours)
        assert process.wait() == 0
    assert "esper @10>" in shown
    assert "42" in shown
    assert "threshold" in shown
    assert "select 6 * 7" in (told / "query_history").read_text()
    assert (told / "query_history").stat().st_mode & 0o777 == 0o600


def read_all(terminal: int) -> str:
    data = b""
    try:
        while more := os.read(terminal, 4096):
            data += more
    except OSError:
        # The other side hung up.
        pass
    os.close(terminal)
    return data.decode()
