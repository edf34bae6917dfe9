"""Big bytes in a folder, by the SHA-256 of their content."""

import fcntl
import hashlib
import os
import re
import tempfile
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from eventstore.errors import BlobCorrupt, BlobMissing

CHUNK_BYTES = 1024 * 1024
_DIGEST = re.compile(r"[0-9a-f]{64}")


class FolderBlobs:
    """A `BlobStore` of one file per blob, `ab/abcdef...`: written beside, synced, then renamed into place."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, data: bytes) -> str:
        """Store *data* durably and return its digest (64 hex digits). Safe to call from any thread or process."""
        digest = hashlib.sha256(data).hexdigest()
        return digest if self._claimed(digest) else self.put_chunks([data])

    def put_chunks(self, chunks: Iterable[bytes]) -> str:
        """As `put`, of what *chunks* make together, without ever holding all of it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        digest, draft = _draft(self._folder, chunks)
        path = self._path(digest)
        try:
            path.parent.mkdir(exist_ok=True)
            draft.replace(path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        for folder in (path.parent, self._folder):
            _sync_folder(folder)
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

    def chunks(self, digest: str) -> Iterator[bytes]:
        """Yield the bytes whose SHA-256 is *digest* bit by bit. They are verified at the end: use nothing before it.

        Raises: as `get`, `BlobCorrupt` after the last chunk.
        """
        if not _DIGEST.fullmatch(digest):
            raise BlobMissing(digest)
        hashed = hashlib.sha256()
        try:
            with self._path(digest).open("rb") as file:
                while chunk := file.read(CHUNK_BYTES):
                    hashed.update(chunk)
                    yield chunk
        except FileNotFoundError as missing:
            raise BlobMissing(digest) from missing
        if hashed.hexdigest() != digest:
            raise BlobCorrupt(digest, hashed.hexdigest())

    def digests(self) -> list[str]:
        """Return the digest of every blob there is, in order."""
        return sorted(path.name for path in self._folder.glob("??/*") if _DIGEST.fullmatch(path.name))

    def remove(self, digest: str, *, untouched_s: float) -> int:
        """Remove a blob that nobody has put in the last *untouched_s* seconds; return the bytes that this frees.

        0: it is not there, or was put lately - whoever put it may be about to name it in the log.
        """
        if not _DIGEST.fullmatch(digest):
            return 0
        with self._locked(fcntl.LOCK_EX):
            try:
                found = self._path(digest).stat()
            except FileNotFoundError:
                return 0
            if time.time() - found.st_mtime < untouched_s:
                return 0
            self._path(digest).unlink()
            return found.st_size

    def size(self, digest: str) -> int:
        """Return how many bytes a blob takes; 0 if it is not there."""
        try:
            return self._path(digest).stat().st_size
        except FileNotFoundError:
            return 0

    def _claimed(self, digest: str) -> bool:
        """Whether the blob is here, sound; if so it counts as put now, so that nobody removes it meanwhile."""
        if not self._path(digest).exists():
            return False
        with self._locked(fcntl.LOCK_SH):
            if not self._holds(digest):
                return False
            os.utime(self._path(digest))
            return True

    @contextmanager
    def _locked(self, kind: int) -> Generator[None]:
        """Hold the folder's lock: what is being claimed is not being removed, in whatever process."""
        handle = os.open(self._folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, kind)
            yield
        finally:
            os.close(handle)

    def _holds(self, digest: str) -> bool:
        try:
            return all(True for _ in self.chunks(digest))
        except (BlobMissing, BlobCorrupt):
            return False

    def _path(self, digest: str) -> Path:
        return self._folder / digest[:2] / digest


def _draft(folder: Path, chunks: Iterable[bytes]) -> tuple[str, Path]:
    """Write *chunks* to a new file in *folder*, on the disk when this returns."""
    hashed = hashlib.sha256()
    handle, draft = tempfile.mkstemp(prefix=".draft-", dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            for chunk in chunks:
                hashed.update(chunk)
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
    return hashed.hexdigest(), Path(draft)


def _sync_folder(folder: Path) -> None:
    """Make the names in *folder* durable: a rename is lost in a power cut until its folder is synced."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
