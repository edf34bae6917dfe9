"""A trainer that is killed at any moment and resumed ends with the weights of one that was not."""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.place import Place
from actors.stack import down, up

KILLS_IN_CI = 1
KILLS_ASKED_FOR = 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A place with a running stack, so that no trial waits for one to start."""
    place = Place.at(tmp_path_factory.mktemp("esper"))
    up(place)
    yield place.folder
    down(place)


def start(folder: Path, result: Path, *more: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.journeys.growing_run", str(folder), str(result), *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def finished(process: subprocess.Popen[bytes], result: Path) -> str:
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 0, output.decode()
    return result.read_text()


def killed_and_resumed(folder: Path, result: Path, kill_after_s: float) -> str:
    process = start(folder, result)
    try:
        process.wait(timeout=kill_after_s)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    return finished(start(folder, result, "--resume"), result)


def campaign(folder: Path, tmp_path: Path, kills: int, seed: int) -> None:
    finished(start(folder, tmp_path / "warm"), tmp_path / "warm")
    began = time.monotonic()
    unkilled = finished(start(folder, tmp_path / "unkilled"), tmp_path / "unkilled")
    lasted_s = time.monotonic() - began
    moments = random.Random(seed)
    for trial in range(kills):
        kill_after_s = moments.uniform(0.1, 1.0) * lasted_s
        found = killed_and_resumed(folder, tmp_path / f"trial-{trial}", kill_after_s)
        sys.stdout.write(f"trial {trial}: killed after {kill_after_s:.2f} s of {lasted_s:.2f} s, {found[:12]}\n")
        assert found == unkilled, f"trial {trial}, killed after {kill_after_s:.2f} s"


@pytest.mark.timeout(600)
def test_a_killed_and_resumed_run_ends_with_the_same_weights(folder: Path, tmp_path: Path):
    campaign(folder, tmp_path, KILLS_IN_CI, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_twenty_killed_and_resumed_runs_all_end_with_the_same_weights(folder: Path, tmp_path: Path):
    campaign(folder, tmp_path, KILLS_ASKED_FOR, seed=2)
