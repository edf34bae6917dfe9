"""`esper replay`, and what `--verify` makes of a damaged copy."""

import shutil
from pathlib import Path

import pytest

from ops.cli.blocks import BLOCKS
from tests.ops.conftest import Esper

RECORD_OF_THE_CULL = b"gate G2: probe_gain"


def test_replay_shows_the_seeds_as_they_stood(esper: Esper) -> None:
    rows = esper("replay", "latest", "--at", "22", "--json").rows()
    assert {row["name"]: row["stage"] for row in rows if row["kind"] == "seed"} == {"s0": "blending", "s1": "culled"}


def test_replay_to_an_earlier_position_knows_nothing_of_later_ones(esper: Esper) -> None:
    rows = esper("replay", "latest", "--at", "6", "--json").rows()
    assert {row["name"]: row["stage"] for row in rows if row["kind"] == "seed"} == {"s0": "germinated", "s1": "dormant"}
    assert [row["position"] for row in rows if row["kind"] == "decision"] == ["5"]


def test_replay_says_what_the_position_changed(esper: Esper) -> None:
    rows = esper("replay", "latest", "--at", "33", "--json").rows()
    changes = {row["path"]: (row["before"], row["after"]) for row in rows if row["kind"] == "change"}
    assert changes["stage"] == ("probationary", "fossilized")
    assert changes["contribution"] == (None, 0.05)


def test_replay_of_the_whole_run_is_for_people_too(esper: Esper) -> None:
    ran = esper("replay", "latest")
    assert ran.code == 0
    assert "epoch 12, step 121" in ran.out
    assert "fossilized" in ran.out


def test_replay_before_the_run_is_refused(esper: Esper) -> None:
    assert esper("replay", "latest", "--at", "0").code == 2


def test_verify_counts_what_it_judged(esper: Esper) -> None:
    (row,) = esper("replay", "latest", "--verify", "--json").rows()
    assert row["verified"] is True
    assert row["result"]["gates"] == 9  # type: ignore[index]
    assert row["result"]["last_position"] == 35  # type: ignore[index]


@pytest.fixture
def copied(told: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the told folder, without projections, which the commands now read."""
    copy = tmp_path / ".esper"
    shutil.copytree(told, copy, ignore=shutil.ignore_patterns("projections*", "*.ports", "stack*"))
    return copy


def _flip(folder: Path, offset_of: bytes, shift: int = 0) -> None:
    (block,) = (folder / "nats").glob(BLOCKS)
    data = bytearray(block.read_bytes())
    data[data.index(offset_of) + shift] ^= 1
    block.write_bytes(data)


@pytest.mark.parametrize(("where", "shift"), [(RECORD_OF_THE_CULL, 0), (b"Nats-Msg-Id", 30), (b"esper.evt.run", -21)])
def test_a_flipped_byte_fails_verification_and_is_named(esper: Esper, copied: Path, where: bytes, shift: int) -> None:
    _flip(copied, where, shift)
    ran = esper("replay", "latest", "--verify", "--json", "--folder", str(copied))
    (row,) = ran.rows()
    assert (ran.code, row["verified"]) == (1, False)
    assert row["result"]["position"] == (19 if where == RECORD_OF_THE_CULL else 1)  # type: ignore[index]


def test_a_flipped_byte_at_the_very_end_is_not_waited_for(esper: Esper, copied: Path) -> None:
    (block,) = (copied / "nats").glob(BLOCKS)
    data = block.read_bytes()
    block.write_bytes(data[:-12] + bytes([data[-12] ^ 1]) + data[-11:])
    ran = esper("replay", "latest", "--verify", "--folder", str(copied))
    assert ran.code == 1
    assert "DIVERGED at position 35" in ran.out


def test_what_lies_before_the_damage_can_still_be_replayed(esper: Esper, copied: Path) -> None:
    _flip(copied, RECORD_OF_THE_CULL)
    assert esper("events", "latest", "--folder", str(copied)).code == 1
    assert "training" in esper("replay", "f3a1", "--at", "18", "--folder", str(copied)).out


def test_a_log_that_was_cut_off_is_missed_by_its_projections(esper: Esper, copied: Path) -> None:
    assert esper("query", "select 1", "--folder", str(copied)).code == 0
    for index in (copied / "nats").rglob("index.db"):
        index.unlink()
    (block,) = (copied / "nats").glob(BLOCKS)
    data = block.read_bytes()
    block.write_bytes(data[: data.rindex(b"esper.evt.run") - 22])
    ran = esper("replay", "latest", "--verify", "--folder", str(copied))
    assert ran.code == 1
    assert "DIVERGED at position 35: missing" in ran.out
