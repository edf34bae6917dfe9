"""A trainer is killed while its server is away: what it had to say is said once, when the run is resumed."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from google.protobuf.message import Message

import esper
from actors.outbox import left_over
from actors.verification import Verified, verify_run
from esper.api.errors import RunFinishedAlready
from esper.leyline.registry import COMMANDS, EVENTS
from esper.leyline.v1.policy_pb2 import DecisionMissed
from esper.leyline.v1.run_pb2 import EpochEnded, RunFinished, RunResumed
from eventstore.oona import open_log
from eventstore.store import Recorded
from tests.api.hosts import digits, narrow
from tests.journeys.conftest import Works

EPOCHS = 7
# As the script tells that an epoch has ended: its number, then its loss.
EPOCH_ENDED = r"^{} \d"


def start(works: Works, result: Path, *more: str, epochs: int = EPOCHS) -> subprocess.Popen[str]:
    """Start the training script on the server of *works*."""
    script = [sys.executable, "-m", "tests.journeys.growing_run", str(works.place.folder), str(result)]
    command = [*script, "--log", works.server.url, "--epochs", str(epochs), *more]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def go_on_until(process: subprocess.Popen[str], told: str) -> None:
    """Have a script that was started `--when-told` go on, and wait until it says a line in which *told* is found."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    said = [process.stdout.readline()]
    while not re.search(told, said[-1]):
        assert said[-1], "".join(said)
        said.append(process.stdout.readline())


def finished(process: subprocess.Popen[str], result: Path) -> str:
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 0, output
    return result.read_text()


def of_run(works: Works, run_id: str, *kinds: type[Message]) -> list[Any]:
    """Return the events of those kinds that the log holds of a run; every event id is there once."""
    recorded = works.loop.call(_recorded(works), 60)
    assert len({event.event_id for event in recorded}) == len(recorded)
    return [event.event for event in recorded if event.context.run_id == run_id and isinstance(event.event, kinds)]


async def _recorded(works: Works) -> list[Recorded]:
    """Read the log by a connection of its own: the one of *works* may not have found the server again yet."""
    opened = open_log(works.server.url, keys=works.place.keys, types=EVENTS, commands=COMMANDS)
    async with opened as log:
        return [recorded async for recorded in log.store.read_all()]


def kill(works: Works) -> Callable[[], None]:
    """Kill the server; return how to bring it back."""
    works.kill_server()
    return works.restart_server


def pause(works: Works) -> Callable[[], None]:
    """Stop the server where it stands; what reaches it meanwhile, it hears when it goes on."""
    pid = works.server.pid or 0
    os.kill(pid, signal.SIGSTOP)
    return lambda: os.kill(pid, signal.SIGCONT)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("take_away", [kill, pytest.param(pause, marks=pytest.mark.slow)])
def test_a_trainer_killed_while_its_server_is_away_says_everything_once_and_ends_as_if_nothing_had_been(
    works: Works, tmp_path: Path, take_away: Callable[[Works], Callable[[], None]]
):
    undisturbed = finished(start(works, tmp_path / "undisturbed"), tmp_path / "undisturbed")

    trainer = start(works, tmp_path / "killed", "--when-told")
    go_on_until(trainer, EPOCH_ENDED.format(1))
    bring_back = take_away(works)
    # The controller does not decide before the third epoch: what it misses here changes nothing.
    go_on_until(trainer, "2 facts wait")
    trainer.send_signal(signal.SIGKILL)
    trainer.communicate()
    (run_id,), (depth,) = zip(*left_over(works.place.outboxes).items(), strict=True)
    assert depth == 2
    bring_back()

    resumed = finished(start(works, tmp_path / "killed", "--resume"), tmp_path / "killed")
    assert resumed == undisturbed
    assert not left_over(works.place.outboxes)
    epochs = [event.facts.at.epoch for event in of_run(works, run_id, EpochEnded)]
    assert epochs == list(range(1, EPOCHS + 1))
    assert [event.at.epoch for event in of_run(works, run_id, DecisionMissed)] == [2]
    assert [event.attempt for event in of_run(works, run_id, RunResumed)] == [2]
    assert len(of_run(works, run_id, RunFinished)) == 1
    assert isinstance(works.loop.call(verify_run(works.log.store, run_id), 60), Verified)


@pytest.mark.timeout(600)
def test_a_run_that_ends_while_its_server_is_away_has_its_end_recorded_when_it_is_opened_again(
    works: Works, tmp_path: Path
):
    trainer = start(works, tmp_path / "result", "--when-told", epochs=2)
    go_on_until(trainer, EPOCH_ENDED.format(1))
    go_on_until(trainer, EPOCH_ENDED.format(2))
    works.kill_server()
    weights = finished(trainer, tmp_path / "result").split()[0]
    (run_id,), (depth,) = zip(*left_over(works.place.outboxes).items(), strict=True)
    assert depth == 1
    works.restart_server()
    assert not of_run(works, run_id, RunFinished)

    model = esper.wrap(narrow(3), sites=[("0", "2"), "0"])
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    with pytest.raises(RunFinishedAlready):
        esper.attach(
            model,
            optimizer,
            evaluate=digits().score,
            log=works.server.url,
            folder=works.place.folder,
            resume="latest",
        )
    (end,) = of_run(works, run_id, RunFinished)
    assert end.summary.model_sha256 == weights
    assert not left_over(works.place.outboxes)
