"""The bytes of an archive file: whole, in order, and with a digest at the end.

magic "LEYLINE\\n" · frames: length u32 little endian · ArchiveFrame
header (once) · commits, as they were stored, in the order of the log · end: counts, SHA-256 of all before, its HMAC
"""

import hashlib
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from google.protobuf.message import DecodeError

from eventstore.errors import ArchiveBroken
from eventstore.v1.archive_pb2 import ArchiveFrame

MAGIC = b"LEYLINE\n"
LARGEST_FRAME_BYTES = 64 * 1024 * 1024
_LENGTH = struct.Struct("<I")


class FrameWriter:
    """Writes frames and knows the digest of what it has written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self.bytes = 0
        self._write(MAGIC)

    @property
    def sha256(self) -> bytes:
        """The SHA-256 of everything written so far."""
        return self._digest.digest()

    def write(self, frame: ArchiveFrame) -> None:
        """Add *frame* to the file."""
        data = frame.SerializeToString(deterministic=True)
        self._write(_LENGTH.pack(len(data)) + data)

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._digest.update(data)
        self.bytes += len(data)


def frames(path: Path) -> Iterator[ArchiveFrame]:
    """Yield the frames of the file at *path*: a header, commits, and an end that fits the bytes before it.

    Raises:
        ArchiveBroken: at the first frame that is cut off, undecodable or out of place, or an end that does not fit.
    """
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise ArchiveBroken(str(path), 0, "it does not begin as one")
        digest, expected = hashlib.sha256(MAGIC), "header"
        while head := file.read(_LENGTH.size):
            offset = file.tell() - len(head)
            data = _frame_bytes(file, head)
            frame = _parsed(data)
            content = frame.WhichOneof("content") if frame else None
            if frame is None or content is None:
                raise ArchiveBroken(str(path), offset, "a frame that is cut off or undecodable")
            if content != expected and (expected, content) != ("commit", "end"):
                raise ArchiveBroken(str(path), offset, f"a frame of kind {content}, expected {expected}")
            if content == "end" and frame.end.sha256 != digest.digest():
                raise ArchiveBroken(str(path), offset, "what is before it has another SHA-256 than the end says")
            digest.update(head + data)
            expected = "nothing" if content == "end" else "commit"
            yield frame
        if expected != "nothing":
            raise ArchiveBroken(str(path), path.stat().st_size, "its end is missing: it was cut off")


def _frame_bytes(file: BinaryIO, head: bytes) -> bytes:
    size = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else 0
    data = file.read(size) if size <= LARGEST_FRAME_BYTES else b""
    return data if len(data) == size else b""


def _parsed(data: bytes) -> ArchiveFrame | None:
    try:
        return ArchiveFrame.FromString(data) if data else None
    except DecodeError:
        return None
