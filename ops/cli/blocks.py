"""The log's files as nats-server lays them out, walked before a server is started on them.

A server that meets a damaged frame while it starts may cut the file off there, or never become ready. So the frames
are looked at first; what is inside them is for the server's checksums and our signatures.

    length u32 (top bit: has headers) · sequence u64 · time i64 · subject length u16 · subject
    · headers length u32 · headers · message · checksum 8 bytes                                    (little endian)
"""

import struct
from pathlib import Path

from eventstore.errors import LogCorrupt
from eventstore.oona.streams import EVENTS
from eventstore.subjects import EVENTS as ROOT

# nats-server 2.12 to 2.15.
BLOCKS = f"jetstream/*/streams/{EVENTS}/msgs/*.blk"
FRAME = struct.Struct("<IQqH")
HEADERS_LENGTH = struct.Struct("<I")
HAS_HEADERS = 1 << 31
TOMBSTONE = 1 << 62
CHECKSUM_BYTES = 8
CUT_SHORT = "cut short"
UNREAD = -1
PREFIX = f"{ROOT}.".encode()


def check_frames(store: Path) -> int:
    """Walk every frame below the server's folder *store* and return how many bytes there are.

    A last frame that the file cuts short is a write that was never acknowledged; the server drops it.

    Raises:
        LogCorrupt: a frame is damaged; nothing was changed.
    """
    position, size = 0, 0
    blocks = sorted(store.glob(BLOCKS), key=lambda block: int(block.stem))
    for block in blocks:
        data = block.read_bytes()
        size += len(data)
        position = _last_sound(data, position, newest=block == blocks[-1])
    return size


def _last_sound(data: bytes, position: int, *, newest: bool) -> int:
    """Return the position of the last frame in *data*, the block that follows on *position*.

    Raises:
        LogCorrupt: at the first frame that is damaged.
    """
    offset = 0
    while offset < len(data):
        end, sequence, fault = _frame(data, offset)
        aligned = sequence in (position + 1, UNREAD)
        if fault == CUT_SHORT and newest and aligned and data.count(PREFIX, offset) <= 1:
            break
        if fault and offset and not aligned and not data.startswith(PREFIX, offset + FRAME.size):
            # Nothing here is as it should be: the frame before it only pretends to end here.
            raise LogCorrupt(position, "frame", "a whole one", "a wrong length")
        if fault:
            raise LogCorrupt(position + 1, "frame", "a whole one", fault)
        if not sequence & TOMBSTONE:
            position += 1
            if sequence != position:
                raise LogCorrupt(position, "frame", f"sequence {position}", f"sequence {sequence}")
        offset = end
    return position


def _frame(data: bytes, offset: int) -> tuple[int, int, str]:
    """Return where the frame at *offset* ends, its sequence, and what is wrong with it ("" if nothing)."""
    if offset + FRAME.size > len(data):
        return len(data), UNREAD, CUT_SHORT
    length, sequence, _, subject_length = FRAME.unpack_from(data, offset)
    end = offset + (length & ~HAS_HEADERS)
    if sequence & TOMBSTONE:
        whole = end - offset == FRAME.size + CHECKSUM_BYTES
        return end, sequence, "" if whole else f"sequence {sequence}"
    return end, sequence, CUT_SHORT if end > len(data) else _fault(data, offset, end, subject_length)


def _fault(data: bytes, offset: int, end: int, subject_length: int) -> str:
    """Say what is wrong with the lengths inside the frame from *offset* to *end*."""
    headers_at = offset + FRAME.size + subject_length
    body = headers_at + HEADERS_LENGTH.size
    if body + CHECKSUM_BYTES > end:
        return f"a length of {end - offset} bytes"
    if not data.startswith(PREFIX, offset + FRAME.size):
        return "another subject than the log's"
    if not HAS_HEADERS & FRAME.unpack_from(data, offset)[0]:
        return "no headers"
    if body + HEADERS_LENGTH.unpack_from(data, headers_at)[0] + CHECKSUM_BYTES > end:
        return "headers longer than the frame"
    return ""
