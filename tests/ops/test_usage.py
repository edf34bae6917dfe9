"""Exit codes, names of runs, and how fast a command is there."""

import subprocess
import sys
from pathlib import Path

import pytest

from esper.leyline.registry import EVENTS
from eventstore.memory import MemoryStore
from ops.cli.chronicle import read_chronicle
from ops.cli.errors import AmbiguousRun, UnknownRun
from tests.ops.conftest import OTHER_RUN_ID, Esper
from tests.ops.story import RUN_ID, Teller


def test_an_unknown_run_is_wrong_usage_and_names_the_newest(esper: Esper) -> None:
    ran = esper("events", "beef")
    assert ran.code == 2
    assert RUN_ID in ran.err
    assert "esper runs" in ran.err


def test_no_log_at_all_is_exit_code_3_and_nothing_is_created(esper: Esper, tmp_path: Path) -> None:
    ran = esper("runs", "--folder", str(tmp_path / "nowhere"))
    assert ran.code == 3
    assert "esper up" in ran.err
    assert not (tmp_path / "nowhere").exists()


def test_a_log_without_its_key_is_not_given_a_new_one(esper: Esper, tmp_path: Path) -> None:
    (tmp_path / "nats").mkdir()
    ran = esper("runs", "--folder", str(tmp_path))
    assert ran.code == 3
    assert not (tmp_path / "key").exists()


FORK = ("fork", "latest")
BAKE = ("bake", "latest", "-o", "baked", "--model", "tests.api.hosts:narrow")


@pytest.mark.parametrize("command", [FORK, BAKE])
def test_what_needs_a_log_makes_none_and_no_key(esper: Esper, tmp_path: Path, command: tuple[str, ...]) -> None:
    nowhere = tmp_path / "nowhere"
    assert esper(*command, "--folder", str(nowhere)).code == 3
    assert not nowhere.exists()
    (nowhere / "nats").mkdir(parents=True)
    assert esper(*command, "--folder", str(nowhere)).code == 3
    assert not (nowhere / "key").exists()


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ((*FORK, "--set", "policy.min_epoch"), "is not name=value"),
        ((*BAKE[:-1], "tests.api.hosts"), "is not module:function"),
        ((*BAKE[:-1], "tests.api.hosts:nobody"), "cannot be imported from here"),
        (("replay", "latest", "train.py"), "with --retrain only"),
        (("replay", "latest", "--retrain"), "needs the training script"),
    ],
)
def test_what_is_wrong_with_a_command_is_said(esper: Esper, arguments: tuple[str, ...], why: str) -> None:
    ran = esper(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert why in ran.err


def test_a_server_that_is_not_there_is_exit_code_3(esper: Esper) -> None:
    assert esper("runs", "--log", "nats://127.0.0.1:1").code == 3


@pytest.mark.parametrize("arguments", [("nonsense",), ("events",), ("replay", "latest", "--at", "soon")])
def test_wrong_usage_is_exit_code_2(esper: Esper, arguments: tuple[str, ...]) -> None:
    ran = esper(*arguments)
    assert ran.code == 2
    assert ran.out == ""


def test_help_lists_every_command_with_its_purpose(esper: Esper) -> None:
    out = esper("--help").out
    for command in (
        "runs",
        "events",
        "replay",
        "fork",
        "bake",
        "why",
        "query",
        "project",
        "up",
        "down",
        "status",
        "version",
    ):
        assert f" {command} " in out


async def test_a_run_is_found_by_latest_and_by_any_prefix_of_its_own() -> None:
    store = MemoryStore(EVENTS)
    for run_id in (RUN_ID, OTHER_RUN_ID):
        await Teller(store, run_id).start()
    chronicle = await read_chronicle(store)
    assert chronicle.run_named("latest") == OTHER_RUN_ID
    assert chronicle.run_named("F3A") == RUN_ID
    with pytest.raises(AmbiguousRun):
        chronicle.run_named("f3")
    with pytest.raises(UnknownRun):
        chronicle.run_named("00")


def test_reading_commands_import_no_torch() -> None:
    modules = "ops.cli.main, ops.cli.history, ops.cli.why, ops.cli.replay, ops.cli.query"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
