"""Big bytes in a folder, by the SHA-256 of their content."""

import hashlib
import os
import re
import tempfile
from pathlib import Path

from eventstore.errors import BlobCorrupt, BlobMissing

_DIGEST = re.compile(r"[0-9a-f]{64}")


class FolderBlobs:
    """A `BlobStore` of one file per blob, `ab/abcdef...`: written beside, synced, then renamed into place."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, data: bytes) -> str:
        """Store *data* durably and return its digest (64 hex digits). Safe to call from any thread or process."""
        digest = hashlib.sha256(data).hexdigest()
        path = self._path(digest)
        if path.exists() and path.read_bytes() == data:
            return digest
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_whole(path, data)
        return digest

    def get(self, digest: str) -> bytes:
        """Return the bytes whose SHA-256 is *digest*, verified.

        Raises:
            BlobMissing: there is none, or *digest* is not one.
            BlobCorrupt: the stored bytes have another digest; they are kept for inspection.
        """
        if not _DIGEST.fullmatch(digest):
            raise BlobMissing(digest)
        try:
            data = self._path(digest).read_bytes()
        except FileNotFoundError as missing:
            raise BlobMissing(digest) from missing
        found = hashlib.sha256(data).hexdigest()
        if found != digest:
            raise BlobCorrupt(digest, found)
        return data

    def _path(self, digest: str) -> Path:
        return self._folder / digest[:2] / digest


def _write_whole(path: Path, data: bytes) -> None:
    handle, draft = tempfile.mkstemp(prefix=".draft-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)
    _sync_folder(path.parent.parent)


def _sync_folder(folder: Path) -> None:
    """Make the names in *folder* durable: a rename is lost in a power cut until its folder is synced."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
