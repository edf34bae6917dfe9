"""Bundles meet the blob store and the keys: what `esper.urza.bundle` asks for, as functions."""

from esper.urza.bundle import Fetch, Sign, Verify
from esper.urza.errors import BundleRefused
from eventstore.errors import BlobCorrupt, BlobMissing, KeyMissing
from eventstore.signing import Keys
from eventstore.store import BlobStore


def fetch_from(blobs: BlobStore) -> Fetch:
    """Return how to read a bundle's parts from *blobs*."""

    def fetch(digest: str) -> bytes | None:
        try:
            return blobs.get(digest)
        except BlobMissing:
            return None
        except BlobCorrupt as corrupt:
            raise BundleRefused("digest_mismatch", str(corrupt)) from corrupt

    return fetch


def verify_with(keys: Keys) -> Verify:
    """Return how to check a bundle's signature with *keys*; a key that is not among them vouches for nothing."""

    def verify(data: bytes, key_id: str, signature: bytes) -> bool:
        try:
            return keys.verify(data, key_id, signature)
        except KeyMissing:
            return False

    return verify


def sign_with(keys: Keys) -> Sign:
    """Return how to sign a bundle with the current one of *keys*."""
    return lambda data: (keys.current_id, keys.sign(data))
