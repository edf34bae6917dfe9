"""`esper up`, `esper status` and `esper down`, as typed."""

import asyncio
import json
import os
import signal
import time
from pathlib import Path

import pytest

from actors.outbox import Outbox
from actors.place import Place
from actors.stack import up
from actors.stackfile import running_stack
from actors.watch import STREAM
from esper.leyline.registry import COMMANDS, EVENTS
from esper.leyline.v1.fabric_pb2 import ConservativeModeEntered
from eventstore.oona import open_log
from eventstore.store import Context
from ops.cli.main import run

PATIENCE_S = 20.0


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
    assert found["projected"]["position"] <= found["projected"]["head"]
    assert found["projected"]["halted"] == ""
    assert run(["query", "select max(position) as head from events", "--json", "--folder", folder]) == 0
    head = json.loads(capsys.readouterr().out)["head"]
    assert run(["query", "select max(position) as head from events", "--at", "1", "--json", "--folder", folder]) == 0
    assert json.loads(capsys.readouterr().out)["head"] == 1 < head
    assert run(["status", "--folder", folder]) == 0
    assert f"of {head}, lag " in capsys.readouterr().err
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


def test_status_says_that_the_fabric_is_conservative_and_why(folder: str, capsys: pytest.CaptureFixture[str]):
    place = Place.at(Path(folder), {})
    up(place)
    asyncio.run(make_conservative(place))
    capsys.readouterr()
    deadline = time.monotonic() + PATIENCE_S

    def told() -> bool:
        run(["status", "--folder", folder])
        return "only critical telemetry is taken: a test says so" in capsys.readouterr().err

    while not told():
        assert time.monotonic() < deadline


async def make_conservative(place: Place) -> None:
    """Record the mode as the warden would, and have it look at the log again by starting it anew."""
    found = running_stack(place)
    assert found is not None
    entered = ConservativeModeEntered(reason="a test says so", depth=4_000)
    login = place.login("warden")
    async with open_log(found.url, keys=place.keys, types=EVENTS, commands=COMMANDS, login=login) as log:
        context = Context(command_id="c" * 32, command_type="test", recorded_at_ns=1, actor="tester")
        await log.store.append(STREAM, [entered], expected=0, context=context)
    os.kill(next(process.pid for process in found.processes if process.name == "warden"), signal.SIGKILL)
