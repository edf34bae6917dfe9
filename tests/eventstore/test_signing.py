"""The key is made once, kept private, and never shown."""

import hmac
import stat
from pathlib import Path

import pytest

from eventstore.errors import KeyMissing, KeyRefused
from eventstore.signing import PREVIOUS_VARIABLE, VARIABLE, Keys


def test_a_key_is_created_once_and_only_its_owner_can_read_it(tmp_path: Path):
    first, second = Keys.load(tmp_path / "new", {}), Keys.load(tmp_path / "new", {})
    assert first.current_id == second.current_id
    assert stat.S_IMODE((tmp_path / "new" / "key").stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["key"]


def test_the_environment_wins_over_the_file(tmp_path: Path):
    stored = Keys.load(tmp_path, {})
    assert Keys.load(tmp_path, {VARIABLE: "secret"}).current_id == Keys("secret").current_id != stored.current_id


def test_no_file_is_written_when_the_environment_has_the_secret(tmp_path: Path):
    Keys.load(tmp_path, {VARIABLE: "secret"})
    assert list(tmp_path.iterdir()) == []


def test_the_secret_of_a_file_can_be_moved_to_the_environment(tmp_path: Path):
    stored = Keys.load(tmp_path, {})
    assert Keys.load(tmp_path, {VARIABLE: (tmp_path / "key").read_text()}).current_id == stored.current_id


def test_a_previous_secret_still_verifies(tmp_path: Path):
    old = Keys("old")
    ring = Keys.load(tmp_path, {VARIABLE: "new", PREVIOUS_VARIABLE: "old"})
    assert ring.verify(b"data", old.current_id, old.sign(b"data"))
    assert ring.current_id == Keys("new").current_id


@pytest.mark.parametrize("secret", ["", "  \n"])
def test_an_empty_secret_is_refused(tmp_path: Path, secret: str):
    with pytest.raises(KeyRefused):
        Keys.load(tmp_path, {VARIABLE: secret})


def test_an_empty_key_file_is_refused_and_not_replaced(tmp_path: Path):
    (tmp_path / "key").touch(mode=0o600)
    with pytest.raises(KeyRefused):
        Keys.load(tmp_path, {})


def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path):
    Keys.load(tmp_path, {})
    (tmp_path / "key").chmod(0o644)
    with pytest.raises(KeyRefused, match="chmod 600"):
        Keys.load(tmp_path, {})


def test_the_secret_is_not_shown():
    keys = Keys("hunter2hunter2")
    assert "hunter2" not in repr(keys) + str(keys) + f"{keys}"


def test_a_wrong_signature_and_an_unknown_key_are_told_apart():
    keys = Keys("a")
    assert not keys.verify(b"data", keys.current_id, keys.sign(b"other"))
    with pytest.raises(KeyMissing):
        keys.verify(b"data", "0" * 16, keys.sign(b"data"))


@pytest.mark.parametrize("length", [1, 63, 64, 65, 200])
def test_signatures_are_hmac_sha256_for_keys_of_every_length(length: int):
    for size in (0, 1, 55, 64, 1000):
        assert Keys("k" * length).sign(b"d" * size) == hmac.digest(b"k" * length, b"d" * size, "sha256")
