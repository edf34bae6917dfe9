"""`esper breaker list` and `force`."""

import shutil
from pathlib import Path

import pytest

from tests.ops.conftest import Esper


@pytest.fixture
def own(told: Path, tmp_path: Path) -> str:
    """A copy of the told log, to be written to."""
    return str(shutil.copytree(told, tmp_path / ".esper"))


def test_a_forced_breaker_is_listed_with_who_and_why(esper: Esper, own: str) -> None:
    name = "projector-answers"
    assert esper("breaker", "force", name, "open", "--reason", "disk swap", "--folder", own).code == 0
    rows = {row["name"]: row for row in esper("breaker", "list", "--json", "--folder", own).rows()}
    assert rows[name]["state"] == "open"
    assert rows[name]["until"]
    assert "disk swap" in str(rows[name]["reason"])
    assert rows["urza-publish"]["state"] == "closed"
    again = esper("breaker", "force", name, "open", "--reason", "disk swap", "--json", "--folder", own)
    assert again.rows() == [{"name": name, "state": "open", "changed": False}]


def test_a_breaker_that_does_not_exist_is_wrong_usage(esper: Esper) -> None:
    ran = esper("breaker", "force", "mine", "open", "--reason", "why not")
    assert ran.code == 2
    assert "urza-publish" in ran.err


def test_a_reason_must_be_given(esper: Esper) -> None:
    assert esper("breaker", "force", "urza-publish", "open").code == 2
