"""`esper log`: verify, export, import, backup and restore on a real log, with and without its key."""

import shutil
from pathlib import Path

import pytest

from eventstore.signing import Keys
from ops.cli.blocks import BLOCKS
from tests.ops.conftest import Esper
from tests.ops.story import RUN_ID


@pytest.fixture
def exported(esper: Esper, tmp_path: Path) -> Path:
    """The told run in a file."""
    assert esper("log", "export", "latest", "-o", str(tmp_path / "run.esper")).code == 0
    return tmp_path / "run.esper"


@pytest.fixture
def saved(esper: Esper, tmp_path: Path) -> Path:
    """A backup of the told log."""
    assert esper("log", "backup", str(tmp_path / "backup")).code == 0
    return tmp_path / "backup"


@pytest.fixture
def keyed(told: Path, tmp_path: Path) -> Path:
    """A new folder in which there is nothing but the told log's key."""
    folder = tmp_path / "keyed"
    folder.mkdir()
    shutil.copy(told / "key", folder / "key")
    return folder


def test_verify_counts_everything_and_says_how_fast(esper: Esper) -> None:
    ran = esper("log", "verify")
    assert ran.code == 0
    assert "positions 1 to 35: 35 commits" in ran.out
    assert "35 of 35 commits" in ran.err
    assert "/s" in ran.err


def test_verify_of_a_stretch_checks_that_stretch(esper: Esper) -> None:
    (row,) = esper("log", "verify", "--from", "10", "--to", "20", "--json").rows()
    assert (row["first_position"], row["last_position"], row["commits"], row["fault"]) == (10, 20, 11, None)


def test_verify_names_the_first_fault_with_what_was_expected(esper: Esper, told: Path, tmp_path: Path) -> None:
    copy = tmp_path / ".esper"
    shutil.copytree(told, copy, ignore=shutil.ignore_patterns("projections*", "*.ports", "stack*"))
    (copy / "key").write_text("another secret\n")
    ran = esper("log", "verify", "--folder", str(copy))
    assert ran.code == 1
    assert ran.out.startswith("FAULT at position 1: signing key\n  expected ")
    assert "found" in ran.out


def test_an_export_verifies_where_there_is_no_log(esper: Esper, exported: Path, keyed: Path) -> None:
    ran = esper("log", "verify", str(exported), "--folder", str(keyed))
    assert (ran.code, "NOT checked" in ran.err) == (0, False)
    assert f"run {RUN_ID}: verified, positions 1 to 35" in ran.out


def test_without_the_key_it_says_what_was_not_checked(esper: Esper, exported: Path, tmp_path: Path) -> None:
    ran = esper("log", "verify", str(exported), "--folder", str(tmp_path / "nowhere"))
    assert ran.code == 0
    assert "NOT checked: signatures" in ran.err
    assert not (tmp_path / "nowhere").exists()


def test_a_changed_export_is_no_whole_archive(esper: Esper, exported: Path) -> None:
    data = bytearray(exported.read_bytes())
    data[data.index(b"gate G2")] ^= 1
    exported.write_bytes(data)
    ran = esper("log", "verify", str(exported))
    assert (ran.code, "is no whole archive" in ran.err) == (1, True)


def test_an_imported_run_is_replayed_and_verified_in_another_log(esper: Esper, exported: Path, tmp_path: Path) -> None:
    other = str(tmp_path / "other")
    assert "keys that signed it" in esper("log", "import", str(exported), "--folder", other).err
    ran = esper("log", "import", str(exported), "--unsigned", "--folder", other)
    assert (ran.code, ran.out) == (0, "35 commits imported, 0 were here; recorded at position 36\n")
    assert esper("replay", RUN_ID[:8], "--verify", "--folder", other).code == 0
    assert "signatures could not be checked" in esper("events", "latest", "--type", "import", "--folder", other).out
    assert esper("query", "select max(position) from events", "--folder", other).out.endswith("36\n")


def test_a_run_is_imported_back_into_its_own_log_without_doubling(esper: Esper, exported: Path, keyed: Path) -> None:
    assert "35 commits imported" in esper("log", "import", str(exported), "--folder", str(keyed)).out
    assert "0 commits imported, 35 were here" in esper("log", "import", str(exported), "--folder", str(keyed)).out


def test_a_backup_restores_to_the_same_log(esper: Esper, saved: Path, keyed: Path) -> None:
    ran = esper("log", "restore", str(saved), "--folder", str(keyed))
    assert ran.code == 0
    assert "positions 1 to 35: 35 commits" in ran.out
    assert esper("replay", "latest", "--verify", "--folder", str(keyed)).code == 0
    assert esper("events", "latest", "--json", "--folder", str(keyed)).out == esper("events", "latest", "--json").out


def test_a_restored_log_keeps_the_identity_that_checkpoints_know(esper: Esper, saved: Path, keyed: Path) -> None:
    sql = "select log_created_ns from projection_checkpoint"
    assert esper("log", "restore", str(saved), "--folder", str(keyed)).code == 0
    assert esper("query", sql, "--folder", str(keyed)).out == esper("query", sql).out


def test_a_backup_holds_no_secret(saved: Path, told: Path) -> None:
    secret = (told / "key").read_bytes().strip()
    assert not any(secret in path.read_bytes() for path in saved.rglob("*") if path.is_file())
    assert not list(saved.glob(".trial-*"))


def test_a_log_is_not_restored_over(esper: Esper, saved: Path, told: Path) -> None:
    ran = esper("log", "restore", str(saved), "--folder", str(told))
    assert (ran.code, "has a log already" in ran.err) == (2, True)


def test_a_restore_without_the_key_says_where_to_put_it(esper: Esper, saved: Path, tmp_path: Path) -> None:
    ran = esper("log", "restore", str(saved), "--folder", str(tmp_path / "new"))
    assert (ran.code, "put the key" in ran.err) == (3, True)


def test_a_damaged_backup_is_not_restored(esper: Esper, saved: Path, keyed: Path) -> None:
    snapshot = saved / "log.snapshot"
    snapshot.write_bytes(snapshot.read_bytes()[:-1] + b"x")
    ran = esper("log", "restore", str(saved), "--folder", str(keyed))
    assert (ran.code, "SHA-256" in ran.err) == (1, True)
    assert not list(keyed.glob(f"nats/{BLOCKS}"))


def test_a_backup_is_not_written_over_another(esper: Esper, saved: Path) -> None:
    ran = esper("log", "backup", str(saved))
    assert (ran.code, "there is a backup already" in ran.err) == (1, True)


def test_a_backup_made_with_the_wrong_key_does_not_call_itself_one(
    esper: Esper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ESPER_LEYLINE_SECRET", "wrong")
    ran = esper("log", "backup", str(tmp_path / "backup"))
    assert (ran.code, Keys("wrong").current_id in ran.err) == (1, True)
    assert not (tmp_path / "backup" / "backup.json").exists()
