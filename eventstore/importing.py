"""Putting an archive's commits into another log, with a record of where they came from."""

from collections.abc import Sequence
from itertools import groupby

import msgspec

from eventstore.archive import Archive, Examined
from eventstore.errors import ImportRefused
from eventstore.signing import Keys
from eventstore.store import Appended, BlobStore, Context, EventStore, EventTypes, Recorded, Stored, StreamName
from eventstore.v1.archive_pb2 import LogImported

AGGREGATE = "import"
ACTOR = "import"


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """How an import ended: `written` commits are new here, the others were here before; `position` is its record."""

    stream: str
    position: int
    commits: int
    written: int
    signatures_verified: bool


class Importer(msgspec.Struct, frozen=True):
    """The log to import into: its store, its blobs, its keys and its types."""

    store: EventStore
    blobs: BlobStore
    keys: Keys
    types: EventTypes

    async def bring(
        self, archive: Archive, *, now_ns: int, run_id: str = "", accept_unsigned: bool = False
    ) -> Imported:
        """Append the archive's commits under this log's key, then record where they came from.

        Ids, times, actors and causes stay what they were, so that runs keep their names and every event its cause;
        payloads are written in the newest shape. The file itself, with the bytes as first signed, becomes a blob. Doing
        it again, or going on after an interruption, writes only what is missing. What cannot be checked for want of its
        keys is taken only with *accept_unsigned*, and the record says so.

        Raises:
            ArchiveBroken: the file is not whole.
            ImportRefused: a stream of it is here with another history, or a commit of it is wrong. Nothing was written.
            StoreUnavailable, LogFull: import it again: what was appended is not appended twice.
        """
        ids: dict[StreamName, list[str]] = {}

        def note(stored: Stored) -> None:
            ids.setdefault(stored.stream, []).append(stored.events[0].commit_id)

        examined = archive.examine(self.keys, self.types, note)
        fault = examined.checked.fault
        if fault is not None:
            where = f"position {fault.position} of the archive"
            raise ImportRefused(where, f"{fault.kind}: expected {fault.expected}, found {fault.found}")
        if not examined.signed and not accept_unsigned:
            raise ImportRefused(str(archive.path), "the keys that signed it are not here")
        for stream, there in ids.items():
            await self._refuse_other_history(stream, there)
        digest = self.blobs.put(archive.path.read_bytes())
        places, written = list[tuple[int, int]](), 0
        for stored in archive.commits(self.keys, self.types):
            appended = await self._append(stored)
            places.append((stored.position, appended.position))
            written += int(not appended.duplicate)
        record = self._record(archive, examined, digest, places)
        stream = StreamName(AGGREGATE, digest)
        context = Context(
            command_id=digest[:32], command_type="ImportArchive", recorded_at_ns=now_ns, actor=ACTOR, run_id=run_id
        )
        recorded = await self.store.append(stream, [record], expected=0, context=context)
        return Imported(
            stream=str(stream),
            position=recorded.position,
            commits=len(places),
            written=written,
            signatures_verified=examined.signed,
        )

    async def _append(self, stored: Stored) -> Appended:
        first = stored.events[0]
        messages = [recorded.event for recorded in stored.events]
        return await self.store.append(stored.stream, messages, expected=first.version - 1, context=first.context)

    async def _refuse_other_history(self, stream: StreamName, there: Sequence[str]) -> None:
        here = _commit_ids(await self.store.read_stream(stream))
        shared = min(len(here), len(there))
        if here[:shared] != there[:shared]:
            raise ImportRefused(str(stream), "this log has it with another history: import into an empty one")

    def _record(
        self, archive: Archive, examined: Examined, digest: str, places: Sequence[tuple[int, int]]
    ) -> LogImported:
        return LogImported(
            archive_sha256=digest,
            subject=archive.header.subject,
            log_created_ns=archive.header.log_created_ns,
            first_position=places[0][0] if places else 0,
            last_position=places[-1][0] if places else 0,
            position_map_sha256=self.blobs.put(msgspec.json.encode(position_map(places))),
            commits=examined.checked.commits,
            events=examined.checked.events,
            key_ids=archive.header.key_ids,
            signatures_verified=examined.signed,
        )


def position_map(places: Sequence[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """Return *places* (position there, position here) as runs: where each begins there and here, and how long it is."""
    runs: list[tuple[int, int, int]] = []
    for there, here in places:
        if runs and (there, here) == (runs[-1][0] + runs[-1][2], runs[-1][1] + runs[-1][2]):
            runs[-1] = (runs[-1][0], runs[-1][1], runs[-1][2] + 1)
        else:
            runs.append((there, here, 1))
    return runs


def _commit_ids(events: Sequence[Recorded]) -> list[str]:
    return [commit for commit, _ in groupby(event.commit_id for event in events)]
