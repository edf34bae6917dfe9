"""What every store of blobs promises: a blob is the bytes its digest names, or it is not returned."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from eventstore.errors import BlobCorrupt, BlobMissing
from eventstore.store import BlobStore

LARGE = bytes(range(256)) * 8_000


class BlobContract:
    """Inherit, and give the fixtures `blobs` and `spoil`: damage the bytes that are stored for a digest."""

    def test_what_was_put_is_got_by_its_sha256(self, blobs: BlobStore):
        digest = blobs.put(b"weights")
        assert digest == hashlib.sha256(b"weights").hexdigest()
        assert blobs.get(digest) == b"weights"

    def test_an_empty_blob_is_a_blob(self, blobs: BlobStore):
        assert blobs.get(blobs.put(b"")) == b""

    def test_one_of_many_chunks_comes_back_whole_and_bit_by_bit(self, blobs: BlobStore):
        digest = blobs.put(LARGE)
        assert blobs.get(digest) == LARGE
        parts = list(blobs.chunks(digest))
        assert len(parts) > 1
        assert b"".join(parts) == LARGE

    def test_what_is_put_bit_by_bit_is_named_by_all_of_it(self, blobs: BlobStore):
        digest = blobs.put_chunks(iter((b"wei", b"", b"ghts")))
        assert digest == hashlib.sha256(b"weights").hexdigest()
        assert blobs.get(digest) == b"weights"

    def test_all_that_are_there_can_be_listed(self, blobs: BlobStore):
        assert list(blobs.digests()) == []
        digests = {blobs.put(b"%d" % number) for number in range(5)}
        assert list(blobs.digests()) == sorted(digests)

    def test_what_breaks_off_is_no_blob_and_leaves_the_others_alone(self, blobs: BlobStore):
        digest = blobs.put(b"weights")

        def broken() -> Iterator[bytes]:
            yield b"weights"
            raise OSError("the disk is gone")

        with pytest.raises(OSError, match="the disk is gone"):
            blobs.put_chunks(broken())
        assert blobs.get(digest) == b"weights"

    @pytest.mark.parametrize("digest", ["0" * 64, "../../etc/passwd", "", "A" * 64, ">", "*"])
    def test_what_is_not_there_is_missing(self, blobs: BlobStore, digest: str):
        with pytest.raises(BlobMissing):
            blobs.get(digest)
        with pytest.raises(BlobMissing):
            list(blobs.chunks(digest))

    def test_a_flipped_byte_is_noticed_and_kept(self, blobs: BlobStore, spoil):
        digest = blobs.put(b"weights")
        spoil(digest, b"Weights")
        for _ in range(2):
            with pytest.raises(BlobCorrupt):
                blobs.get(digest)
            with pytest.raises(BlobCorrupt):
                list(blobs.chunks(digest))

    def test_putting_the_right_bytes_again_heals_a_corrupt_blob(self, blobs: BlobStore, spoil):
        digest = blobs.put(b"weights")
        spoil(digest, b"")
        assert blobs.get(blobs.put(b"weights")) == b"weights"

    def test_many_writers_of_the_same_blob_agree(self, blobs: BlobStore):
        data = b"x" * 100_000
        with ThreadPoolExecutor(8) as pool:
            digests = set(pool.map(lambda _: blobs.put(data), range(32)))
        [digest] = digests
        assert blobs.get(digest) == data
