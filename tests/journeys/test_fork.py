"""A run is forked, or trained again, from the command line by its own script, which knows nothing of it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.place import Place
from actors.stack import down, up


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A place with a running stack, and a finished run in its log."""
    place = Place.at(tmp_path_factory.mktemp("esper"))
    up(place)
    trained(place.folder)
    yield place.folder
    down(place)


def trained(folder: Path, *more: str) -> str:
    result = folder / "result"
    command = [sys.executable, "-m", "tests.journeys.growing_run", str(folder), str(result), *more]
    subprocess.run(command, check=True, capture_output=True, timeout=200)
    return result.read_text()


def esper(folder: Path, *arguments: str) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "ops.cli.main", *arguments, "--folder", str(folder), "--json"]
    ran = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    return [json.loads(line) for line in ran.stdout.splitlines()]


@pytest.mark.timeout(300)
def test_a_fork_in_the_middle_of_an_epoch_ends_with_the_weights_of_the_run(folder: Path):
    original = (folder / "result").read_text()
    (parent,) = esper(folder, "runs")
    blending = esper(folder, "events", "latest", "--type", "AlphaRampCompleted")
    (made,) = esper(folder, "fork", parent["run_id"][:12], "--at", str(blending[0]["position"]))
    assert made["parent"] == parent["run_id"]
    assert trained(folder, "--resume") == original
    _, forked = esper(folder, "runs")
    assert (forked["run_id"], forked["status"]) == (made["run_id"], "finished")
    assert (forked["forked_from"], forked["forked_at"]) == (parent["run_id"], made["position"])
    assert esper(folder, "runs")[0]["forks"] == [made["run_id"]]
    rows = esper(folder, "query", "select run_id, forked_from, forked_at from run_summary order by first_position")
    assert [tuple(row.values()) for row in rows] == [
        (parent["run_id"], None, None),
        (made["run_id"], parent["run_id"], made["position"]),
    ]
    for run in (parent, made):
        assert esper(folder, "replay", run["run_id"], "--verify")[0]["verified"]


def retrained(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    script = [sys.executable, "-m", "tests.journeys.growing_run", str(folder), str(folder / "again"), *more]
    command = [sys.executable, "-m", "ops.cli.main", "replay", "latest", "--retrain", "--folder", str(folder), "--json"]
    return subprocess.run([*command, "--", *script], check=False, capture_output=True, text=True, timeout=200)


@pytest.mark.timeout(300)
def test_a_run_with_kept_and_culled_seeds_is_trained_again_to_the_same_weights(folder: Path):
    run, before = esper(folder, "runs")[-1], len(esper(folder, "events", "latest"))
    assert run["kept"]
    assert run["culled"]
    ran = retrained(folder)
    found = json.loads(ran.stdout)
    assert (ran.returncode, found["identical"]) == (0, True), ran.stderr
    assert (found["result"]["epochs"], found["result"]["digests"]) == (14, 15)
    assert len(esper(folder, "events", "latest")) == before


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_script_that_ends_early_or_never_trains_has_not_shown_anything(folder: Path):
    ran = retrained(folder, "--epochs", "3")
    found = json.loads(ran.stdout)
    assert (ran.returncode, found["identical"], found["result"]["epochs"]) == (1, False, 3)
    command = [sys.executable, "-m", "ops.cli.main", "replay", "latest", "--retrain", "--folder", str(folder)]
    ran = subprocess.run([*command, "--", sys.executable, "-c", "pass"], check=False, capture_output=True, text=True)
    assert ran.returncode == 2
    assert "compared nothing" in ran.stderr
    assert subprocess.run(command, check=False, capture_output=True).returncode == 2
