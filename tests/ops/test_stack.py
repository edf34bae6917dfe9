"""`esper up`, `esper status` and `esper down`, as typed."""

import json
from pathlib import Path

import pytest

from actors.outbox import Outbox
from ops.cli.main import run


@pytest.fixture
def folder(tmp_path: Path):
    yield str(tmp_path / "esper")
    run(["down", "--folder", str(tmp_path / "esper")])


def test_the_stack_comes_up_tells_how_it_is_and_goes_down(folder: str, capsys: pytest.CaptureFixture[str]):
    assert run(["up", "--folder", folder]) == 0
    assert "nats://127.0.0.1:" in capsys.readouterr().err
    assert run(["status", "--folder", folder, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["durable"], found["silent"]) == (True, [])
    assert {process["state"] for process in found["stack"]["processes"]} == {"ready"}
    assert run(["down", "--folder", folder, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["stopped"]


def test_status_tells_what_a_run_has_not_handed_to_its_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    run_id = "ab" * 16
    outbox = Outbox(tmp_path / "outbox" / f"{run_id}.outbox")
    for _ in range(3):
        outbox.put(b"a fact")
    assert run(["status", "--folder", str(tmp_path)]) == 1
    assert f"3 facts of run {run_id} wait" in capsys.readouterr().err
    assert run(["status", "--folder", str(tmp_path), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["outboxes"] == {run_id: 3}


def test_status_of_nothing_is_a_no_and_creates_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = tmp_path / "none"
    assert run(["status", "--folder", str(folder)]) == 1
    assert run(["down", "--folder", str(folder)]) == 0
    assert "esper up" in capsys.readouterr().err
    assert not folder.exists()
