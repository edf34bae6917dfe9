"""Folded states kept in a folder so that long streams load fast: a cache, deletable at any time, never a source."""

import asyncio
import hashlib
import logging
import os
import shutil
import tempfile
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from eventstore.errors import KeyMissing
from eventstore.signing import Keys
from eventstore.states import Kinds, StateUnreadable, decode, encode
from eventstore.store import EventStore, Mark, StreamName
from eventstore.subjects import token

State = TypeVar("State")
EVERY = 200

_log = logging.getLogger("eventstore.snapshots")


class Folding(msgspec.Struct, Generic[State], frozen=True):
    """What turns a stream into a state: its name, and a digest that is another when events may fold otherwise.

    `kinds` are the classes of its states, see `eventstore.states.kinds_of`.
    """

    name: str
    schema: str
    kinds: Kinds


class Snapshot(msgspec.Struct, Generic[State], frozen=True):
    """A state, and where in which history it belongs."""

    state: State
    mark: Mark


class _Body(msgspec.Struct, frozen=True):
    mark: Mark
    folding: tuple[str, str]
    state: bytes


class _Sealed(msgspec.Struct, frozen=True):
    body: bytes
    key_id: str
    signature: bytes


class Snapshots:
    """One file per stream and folding, signed, replaced by newer ones.

    Nothing is promised but that what `load` returns is what folding the log gives: a file that is missing, torn,
    forged, of another schema or of another history is as good as none. Two processes may use one folder.
    """

    def __init__(self, folder: Path, keys: Keys, *, every: int = EVERY) -> None:
        """Keep files in *folder*; a state is worth one when *every* events had to be folded onto the last."""
        self._folder, self._keys, self.every = folder, keys, every

    async def load(self, store: EventStore, stream: StreamName, folding: Folding[State]) -> Snapshot[State] | None:
        """Return the newest snapshot of *stream* that the log in *store* still bears out, or None.

        Raises: as `EventStore.recognise`.
        """
        body = await asyncio.to_thread(self._read, self._path(stream, folding))
        if body is None or body.mark.stream != stream or body.folding != (folding.name, folding.schema):
            return None
        if not await store.recognise(body.mark):
            _log.info("a snapshot of %s of another history is passed over", stream)
            return None
        try:
            return Snapshot(decode(body.state, folding.kinds), body.mark)
        except StateUnreadable as reason:
            _log.info("a snapshot of %s of another shape is passed over: %s", stream, reason)
            return None

    async def keep(
        self, store: EventStore, stream: StreamName, folding: Folding[State], state: State, version: int
    ) -> bool:
        """Keep *state*, which *stream* folds to at *version*; say whether that was possible."""
        mark = store.mark(stream, version)
        if mark is None:
            return False
        body = msgspec.msgpack.encode(_Body(mark, (folding.name, folding.schema), encode(state)))
        sealed = _Sealed(body, self._keys.current_id, self._keys.sign(body))
        await asyncio.to_thread(_replace, self._path(stream, folding), msgspec.msgpack.encode(sealed))
        return True

    def clear(self) -> None:
        """Delete every snapshot; all that is lost is time."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _path(self, stream: StreamName, folding: Folding[State]) -> Path:
        digest = hashlib.sha256(f"{folding.name}\0{folding.schema}".encode()).hexdigest()[:16]
        return self._folder / token(stream.aggregate) / f"{token(stream.aggregate_id)}.{digest}.snapshot"

    def _read(self, path: Path) -> _Body | None:
        try:
            sealed = msgspec.msgpack.decode(path.read_bytes(), type=_Sealed)
            if not self._keys.verify(sealed.body, sealed.key_id, sealed.signature):
                return None
            return msgspec.msgpack.decode(sealed.body, type=_Body)
        except (FileNotFoundError, msgspec.DecodeError, KeyMissing):
            return None


def _replace(path: Path, data: bytes) -> None:
    """Write *data* to *path* whole; not synced, because a cache may be lost in a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(prefix=".draft-", dir=path.parent)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
    Path(draft).replace(path)
