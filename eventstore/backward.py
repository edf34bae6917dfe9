"""The chain of each stream, checked from its newest commit to its first."""

import hashlib

import msgspec

from eventstore.commit import previous_of
from eventstore.errors import LogCorrupt
from eventstore.store import Recorded, StreamName


class _Wanted(msgspec.Struct, frozen=True):
    last_version: int
    sha256: bytes
    by: int


class BackwardChains:
    """What each stream's commits that were met say about the one before them."""

    def __init__(self) -> None:
        self._wanted: dict[StreamName, _Wanted] = {}

    def check(self, position: int, data: bytes, events: tuple[Recorded, ...]) -> None:
        """Check the commit at *position* against the later one of its stream that was met before it, if any.

        Raises:
            LogCorrupt: it is not the one that the later one follows.
        """
        stream, first, last = events[0].stream, events[0].version, events[-1].version
        wanted = self._wanted.pop(stream, None)
        if wanted is not None:
            found = hashlib.sha256(data).digest()
            if (last, found) != (wanted.last_version, wanted.sha256):
                expected = f"version {wanted.last_version} with SHA-256 {wanted.sha256.hex()}"
                raise LogCorrupt(wanted.by, "previous hash", f"version {last} with SHA-256 {found.hex()}", expected)
        if first > 1:
            self._wanted[stream] = _Wanted(first - 1, previous_of(data), position)

    def check_complete(self) -> None:
        """Check, at the log's first position, that every stream was met down to its first commit.

        Raises:
            LogCorrupt: one begins in the middle.
        """
        for stream, wanted in self._wanted.items():
            raise LogCorrupt(wanted.by, "first version", f"a commit of {stream} before it", "none")
