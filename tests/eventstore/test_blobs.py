"""A blob is the bytes its digest names, or it is not returned."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from eventstore.blobs import FolderBlobs
from eventstore.errors import BlobCorrupt, BlobMissing


@pytest.fixture
def blobs(tmp_path: Path) -> FolderBlobs:
    return FolderBlobs(tmp_path / "blobs")


def stored(tmp_path: Path, digest: str) -> Path:
    return tmp_path / "blobs" / digest[:2] / digest


def test_what_was_put_is_got_by_its_sha256(blobs: FolderBlobs):
    digest = blobs.put(b"weights")
    assert digest == hashlib.sha256(b"weights").hexdigest()
    assert blobs.get(digest) == b"weights"


def test_an_empty_blob_is_a_blob(blobs: FolderBlobs):
    assert blobs.get(blobs.put(b"")) == b""


@pytest.mark.parametrize("digest", ["0" * 64, "../../etc/passwd", "", "A" * 64])
def test_what_is_not_there_is_missing(blobs: FolderBlobs, digest: str):
    with pytest.raises(BlobMissing):
        blobs.get(digest)


def test_a_flipped_byte_is_noticed_and_kept(blobs: FolderBlobs, tmp_path: Path):
    digest = blobs.put(b"weights")
    stored(tmp_path, digest).write_bytes(b"Weights")
    with pytest.raises(BlobCorrupt):
        blobs.get(digest)
    assert stored(tmp_path, digest).read_bytes() == b"Weights"


def test_putting_the_right_bytes_again_heals_a_corrupt_blob(blobs: FolderBlobs, tmp_path: Path):
    digest = blobs.put(b"weights")
    stored(tmp_path, digest).write_bytes(b"")
    assert blobs.get(blobs.put(b"weights")) == b"weights"


def test_many_writers_of_the_same_blob_leave_one_whole_file(blobs: FolderBlobs, tmp_path: Path):
    data = b"x" * 100_000
    with ThreadPoolExecutor(8) as pool:
        digests = set(pool.map(lambda _: blobs.put(data), range(32)))
    [digest] = digests
    assert blobs.get(digest) == data
    assert [path.name for path in stored(tmp_path, digest).parent.iterdir()] == [digest]
