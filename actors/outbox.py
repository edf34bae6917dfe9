"""Facts on their way from the training thread to the log, in a file that outlives the process.

frame: magic "EOBX" · kind "P"ut, "L"ast resort or "A"cknowledged · number u64 · length u32 · crc32 u32 · payload
"""

import contextlib
import fcntl
import os
import struct
import tempfile
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

MAGIC = b"EOBX"
PUT, LAST_RESORT, ACKNOWLEDGED = b"P", b"L", b"A"
LIMIT_BYTES = 8 * 1024 * 1024
SUFFIX = ".outbox"
_HEAD = struct.Struct("<4scQII")
_CHECKED = struct.Struct("<cQI")


class OutboxFull(Exception):
    """The outbox, or its disk, has no room for one more fact; the fact is not in it."""

    def __init__(self, size: int, limit: int, cause: str = "") -> None:
        self.size, self.limit, self.cause = size, limit, cause
        why = f": {cause}" if cause else " and has no room for one more fact"
        super().__init__(f"the outbox holds {size} of {limit} bytes{why}")


class OutboxHeld(Exception):
    """Another process has this outbox open: it trains the same run."""

    def __init__(self, file: Path) -> None:
        self.file = file
        super().__init__(f"{file} is held by another process, which trains this run: end it first")


class Letter(NamedTuple):
    """One fact that was put and not acknowledged, by its number in this outbox."""

    number: int
    data: bytes


class Found(msgspec.Struct, frozen=True):
    """What the bytes of an outbox say.

    *whole* bytes of it are sound; *damaged* tells that sound frames come after bytes that are not, which a process that
    died while it wrote cannot have caused. *newest* is the last number given, *resort_at* where the frame begins that
    ends the file as a last resort, or -1.
    """

    waiting: tuple[Letter, ...] = ()
    newest: int = 0
    whole: int = 0
    torn: int = 0
    damaged: bool = False
    resort_at: int = -1


class Outbox:
    """A bounded, append-only file of facts, in the order in which they were put.

    Nothing is promised about when a fact reaches the log, and a fact may be offered to it twice. Promised: once `put`
    has returned, the fact outlives this process, however that dies, until it is acknowledged; `put` waits for a
    `write`, and never for the disk. A power cut can take what was put since the last `sync`.
    """

    def __init__(self, file: Path | None, limit_bytes: int = LIMIT_BYTES) -> None:
        """Open *file*, created if need be; None is a nameless one, for a log that does not outlive the process.

        Raises:
            OutboxHeld: another process has it open.
        """
        self.file, self.limit_bytes = file, limit_bytes
        self.torn_bytes, self.set_aside = 0, None
        self._writing, self._syncing = threading.Lock(), threading.Lock()
        self._handle = _nameless() if file is None else _held(file)
        found = read_frames(_everything(self._handle))
        if found.damaged and file is not None:
            self.set_aside = _set_aside(file, self._handle)
        self.torn_bytes = found.torn
        os.ftruncate(self._handle, found.whole)
        self._waiting = {letter.number: letter.data for letter in found.waiting}
        self._newest, self._size, self._resort_at = found.newest, found.whole, found.resort_at

    @property
    def depth(self) -> int:
        """How many facts wait to be acknowledged."""
        return len(self._waiting)

    @property
    def open(self) -> bool:
        """Whether it can be put into."""
        return self._handle >= 0

    def waiting(self) -> tuple[Letter, ...]:
        """Return what waits, the oldest first."""
        with self._writing:
            return tuple(Letter(number, data) for number, data in self._waiting.items())

    def put(self, data: bytes, *, keep_free: int = 0) -> int:
        """Add a fact and return its number; with room for *keep_free* more bytes after it.

        Raises:
            OutboxFull: it does not fit; nothing was written.
        """
        frame_bytes = _HEAD.size + len(data)
        with self._writing:
            if self._size + frame_bytes + keep_free > self.limit_bytes:
                raise OutboxFull(self._size, self.limit_bytes)
            try:
                self._append(_frame(PUT, self._newest + 1, data))
            except OSError as error:
                raise OutboxFull(self._size, self.limit_bytes, str(error)) from error
            self._newest += 1
            self._waiting[self._newest], self._resort_at = data, -1
            return self._newest

    def put_as_last_resort(self, data: bytes) -> None:
        """Put a fact although there is no room; it takes the place of the last such fact, if nothing came after it."""
        with self._writing:
            if self._resort_at >= 0 and self._newest in self._waiting:
                del self._waiting[self._newest]
                os.ftruncate(self._handle, self._resort_at)
                self._size = self._resort_at
            self._newest += 1
            at = self._size
            # On a disk that is full too, it is kept in memory for as long as the process lives.
            with contextlib.suppress(OSError):
                self._append(_frame(LAST_RESORT, self._newest, data))
            self._waiting[self._newest], self._resort_at = data, at

    def acknowledge(self, number: int) -> None:
        """Note that the log holds this fact, or has refused it for good. When nothing waits, the file is emptied."""
        with self._writing:
            if not self.open or self._waiting.pop(number, None) is None:
                return
            if self._waiting:
                # Unmarked, it would be offered again to a log that holds it: harmless.
                with contextlib.suppress(OSError):
                    self._append(_frame(ACKNOWLEDGED, number, b""))
            else:
                os.ftruncate(self._handle, 0)
                self._size = 0
            self._resort_at = -1

    def sync(self) -> None:
        """Have the disk hold what was put. It waits for the disk: not for the training thread."""
        with self._syncing:
            if self.open:
                os.fsync(self._handle)

    def close(self) -> None:
        """Close the file, and remove it if nothing waits; closing twice is harmless."""
        with self._syncing, self._writing:
            if not self.open:
                return
            if self.file is not None and not self._waiting:
                self.file.unlink(missing_ok=True)
            os.close(self._handle)
            self._handle = -1

    def _append(self, frame: bytes) -> None:
        written = os.pwrite(self._handle, frame, self._size)
        if written < len(frame):
            # Half a frame is what a reader takes for a torn end; the next frame is written over it.
            raise OSError(f"wrote {written} of {len(frame)} bytes to the outbox: is the disk full?")
        self._size += written


def left_over(folder: Path) -> dict[str, int]:
    """Return how many facts wait in each outbox in *folder*, by the run's id; runs that are being trained included."""
    files = sorted(folder.glob(f"*{SUFFIX}"))
    depths = {file.stem: len(read_frames(file.read_bytes()).waiting) for file in files}
    return {run_id: depth for run_id, depth in depths.items() if depth}


def read_frames(data: bytes) -> Found:
    """Return what *data*, the bytes of an outbox, says; a torn end is left out."""
    waiting: dict[int, bytes] = {}
    newest, at, resort_at = 0, 0, -1
    for kind, number, payload, begins, ends in _frames(data):
        newest, at = max(newest, number), ends
        resort_at = begins if kind == LAST_RESORT else -1
        if kind == ACKNOWLEDGED:
            waiting.pop(number, None)
        else:
            waiting[number] = payload
    letters = tuple(Letter(number, payload) for number, payload in waiting.items())
    damaged = _any_frame_after(data, at)
    return Found(letters, newest, at, len(data) - at, damaged, resort_at)


def _frames(data: bytes) -> Iterator[tuple[bytes, int, bytes, int, int]]:
    at = 0
    while (frame := _frame_at(data, at)) is not None:
        kind, number, payload, ends = frame
        yield kind, number, payload, at, ends
        at = ends


def _frame_at(data: bytes, at: int) -> tuple[bytes, int, bytes, int] | None:
    if at + _HEAD.size > len(data):
        return None
    magic, kind, number, length, checksum = _HEAD.unpack_from(data, at)
    ends = at + _HEAD.size + length
    if magic != MAGIC or ends > len(data):
        return None
    payload = data[at + _HEAD.size : ends]
    return (kind, number, payload, ends) if checksum == _checksum(kind, number, payload) else None


def _any_frame_after(data: bytes, at: int) -> bool:
    found = data.find(MAGIC, at)
    while found >= 0:
        if _frame_at(data, found) is not None:
            return True
        found = data.find(MAGIC, found + 1)
    return False


def _frame(kind: bytes, number: int, payload: bytes) -> bytes:
    return _HEAD.pack(MAGIC, kind, number, len(payload), _checksum(kind, number, payload)) + payload


def _checksum(kind: bytes, number: int, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(_CHECKED.pack(kind, number, len(payload))))


def _held(file: Path) -> int:
    file.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise OutboxHeld(file) from error
    return handle


def _nameless() -> int:
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _everything(handle: int) -> bytes:
    return os.pread(handle, os.fstat(handle).st_size, 0)


def _set_aside(file: Path, handle: int) -> Path:
    copy = file.with_suffix(".damaged")
    copy.write_bytes(_everything(handle))
    return copy
