"""Blobs that were shared are on the server, and whoever connects afterwards uses them there."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.place import Place
from actors.stack import down, up
from eventstore.blobs import FolderBlobs
from eventstore.errors import StoreUnavailable
from eventstore.oona.backup import read_backup
from eventstore.oona.objects import ObjectBlobs, shared_blobs
from tests.ops.conftest import Esper


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place.at(tmp_path / ".esper", {})
    yield place
    down(place)


def test_shared_blobs_are_copied_once_found_by_all_and_backed_up(
    place: Place, esper: Esper, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("ESPER_HOME", str(place.folder))
    digest = place.blobs.put(b"weights")
    found = up(place)
    assert shared_blobs(found.url, login=place.login("trainer")) is None
    for copied in (1, 0):
        assert esper("blobs", "share", "--json").rows() == [{"copied": copied, "there": 1}]
    trainer = place.sharing(found.url, place.login("trainer")).blobs
    assert isinstance(trainer, ObjectBlobs)
    assert trainer.get(digest) == b"weights"
    newer = trainer.put(b"newer weights")
    trainer.close()
    ran = esper("log", "backup", str(tmp_path / "copy"))
    assert ran.code == 0, ran.err
    assert read_backup(tmp_path / "copy").blobs == 2
    assert FolderBlobs(tmp_path / "copy" / "blobs").get(newer) == b"newer weights"


def test_a_reader_reads_shared_blobs_and_stores_none(place: Place, esper: Esper, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ESPER_HOME", str(place.folder))
    digest = place.blobs.put(b"weights")
    found = up(place)
    assert esper("blobs", "share").code == 0
    blobs = ObjectBlobs(found.url, login=place.login("reader"))
    assert blobs.get(digest) == b"weights"
    with pytest.raises(StoreUnavailable, match="may not publish"):
        blobs.put(b"more")
    blobs.close()


def test_a_sweep_says_what_it_would_remove_and_a_log_without_expired_checkpoints_keeps_all(esper: Esper, told: Path):
    before = FolderBlobs(told / "blobs").digests()
    (row,) = esper("blobs", "sweep", "--dry-run", "--json", "--older-than-hours", "0").rows()
    assert row == {"checkpoints": 0, "blobs": 0, "bytes": 0, "shared": 0, "too_young": 0}
    assert "0 blobs (0.0 MiB) of 0 expired checkpoints removed" in esper("blobs", "sweep").out
    assert FolderBlobs(told / "blobs").digests() == before
