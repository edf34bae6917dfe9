"""From a training script to `esper query`: what a run measured while it trained, and that it may be left out."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.place import Place
from actors.stack import down, up
from esper.api.logs import MEMORY, open_named
from esper.api.measuring import Measured, Unmeasured, measuring

EPOCHS = 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A place where a run of two epochs has been trained on a running stack."""
    place = Place.at(tmp_path_factory.mktemp("esper"))
    up(place)
    script = [sys.executable, "-m", "tests.journeys.growing_run", place.folder, place.folder / "result"]
    subprocess.run([*script, "--epochs", str(EPOCHS)], check=True, capture_output=True, timeout=240)
    yield place.folder
    down(place)


def asked(folder: Path, sql: str) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "ops.cli.main", "query", sql, "--json", "--folder", folder]
    ran = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    return [json.loads(line) for line in ran.stdout.splitlines()]


def test_every_step_and_epoch_can_be_asked_for(folder: Path):
    epochs = asked(folder, "select epoch, steps, step_ms, last_loss from telemetry.step_time order by epoch")
    assert [row["epoch"] for row in epochs] == [0, 1]
    assert all(row["steps"] > 10 and row["step_ms"] > 0.0 and row["last_loss"] > 0.0 for row in epochs)
    (steps,) = asked(folder, "select count(*) as steps from telemetry.points where metric = 'tolaria.training.loss'")
    (run,) = asked(folder, "select steps from run_summary")
    assert steps["steps"] == run["steps"]


def test_what_was_measured_and_what_was_recorded_agree(folder: Path):
    sql = """
        select recorded.train_loss, measured.value
        from epochs as recorded join telemetry.points as measured using (run_id, epoch)
        where measured.metric = 'tolaria.epoch.loss'
    """
    pairs = asked(folder, " ".join(sql.split()))
    assert len(pairs) == EPOCHS
    assert all(pair["train_loss"] == pair["value"] for pair in pairs)


def test_the_publisher_tells_what_became_of_every_message(folder: Path):
    rows = asked(folder, "select metric, value from telemetry.latest where metric like 'oona.%'")
    told = {row["metric"]: row["value"] for row in rows}
    # A server whose disk is busy may leave a message unacknowledged: that is counted, too.
    ends = ("stored", "shed", "lost")
    assert (
        told["oona.telemetry.offered"] == sum(told[f"oona.telemetry.{end}"] for end in ends) + told["oona.queue.depth"]
    )
    assert told["oona.telemetry.stored"] > 0.0
    assert told["oona.conservative_mode_active"] == 0.0


def test_nothing_is_published_where_it_is_not_wanted_or_nobody_could_hear_it(folder: Path, tmp_path: Path):
    place = Place.at(folder)
    opened = open_named("embedded", place)
    try:
        assert isinstance(measuring(opened, "r" * 32, wanted=False), Unmeasured)
        wanted = measuring(opened, "r" * 32, wanted=True)
        assert isinstance(wanted, Measured)
        wanted.close()
        wanted.close()
    finally:
        opened.close()
    in_memory = open_named(MEMORY, Place.at(tmp_path))
    try:
        assert isinstance(measuring(in_memory, "r" * 32, wanted=True), Unmeasured)
    finally:
        in_memory.close()
