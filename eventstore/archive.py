"""A part of a log as one file: self-describing, and verified without the log it came from."""

import hashlib
from collections.abc import AsyncGenerator, Callable, Collection, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import cast

import msgspec
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.message import Message

from eventstore.commit import START, CommitCodec, Link, key_id_of, link_after
from eventstore.errors import ArchiveBroken, LogCorrupt, UnknownEventType
from eventstore.framing import FrameWriter, frames
from eventstore.signing import Keys
from eventstore.store import EventStore, EventTypes, LogIdentity, Stored, StreamName
from eventstore.v1.archive_pb2 import ArchivedCommit, ArchiveEnd, ArchiveFrame, ArchiveHeader
from eventstore.verification import Checked, Fault, Tally, fault_of
from eventstore.vocabulary import OWN

FORMAT_VERSION = 1


class Exported(msgspec.Struct, frozen=True, kw_only=True):
    """What was written into an archive; `sha256` is that of the whole file."""

    path: str
    sha256: str
    bytes: int
    streams: int
    commits: int
    events: int


class Examined(msgspec.Struct, frozen=True, kw_only=True):
    """What checking an archive came to. `signed`: every signature was checked, with the keys at hand."""

    subject: str
    log_created_ns: int
    format_version: int
    signed: bool
    checked: Checked


class Exporter(msgspec.Struct, frozen=True):
    """With which keys and types archives are written, and at what time."""

    keys: Keys
    types: EventTypes
    now_ns: Callable[[], int]

    async def export(self, store: EventStore, streams: Collection[StreamName], path: Path, subject: str) -> Exported:
        """Write every commit of *streams*, each from its first on, to *path*; the file appears there when it is whole.

        Raises:
            LogCorrupt, UnknownEventType, StoreUnavailable: the log could not be read to its end; nothing was written.
        """
        wanted, identity = frozenset(streams), await store.identity()
        header = await self._header(store, wanted, identity, subject)
        draft = path.with_name(f".{path.name}.draft")
        try:
            with draft.open("wb") as file:
                writer, tally = FrameWriter(file), Tally(1)
                writer.write(ArchiveFrame(header=header))
                async with aclosing(_commits_of(store, wanted, identity)) as commits:
                    async for stored in commits:
                        tally.add(stored)
                        writer.write(ArchiveFrame(commit=_archived(stored)))
                checked = tally.checked()
                writer.write(ArchiveFrame(end=self._end(checked, writer.sha256)))
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
        return Exported(
            path=str(path),
            sha256=writer.sha256.hex(),
            bytes=writer.bytes,
            streams=checked.streams,
            commits=checked.commits,
            events=checked.events,
        )

    async def _header(
        self, store: EventStore, wanted: frozenset[StreamName], identity: LogIdentity, subject: str
    ) -> ArchiveHeader:
        names, key_ids = set[str](), set[str]()
        async with aclosing(_commits_of(store, wanted, identity)) as commits:
            async for stored in commits:
                key_ids.add(key_id_of(stored.data))
                names.update(event.event_type for event in stored.events)
        known = {name: self.types.lookup(name) or OWN.lookup(name) for name in sorted(names)}
        kinds = {name: found for name, found in known.items() if found is not None}
        return ArchiveHeader(
            format_version=FORMAT_VERSION,
            subject=subject,
            log_created_ns=identity.created_ns,
            log_first_position=identity.first_position,
            log_last_position=identity.last_position,
            exported_at_ns=self.now_ns(),
            descriptor_set=_descriptors([kind for kind, _ in kinds.values()]),
            schema_versions={name: version for name, (_, version) in kinds.items()},
            key_ids=sorted(key_ids),
        )

    def _end(self, checked: Checked, digest: bytes) -> ArchiveEnd:
        return ArchiveEnd(
            commits=checked.commits,
            events=checked.events,
            sha256=digest,
            key_id=self.keys.current_id,
            signature=self.keys.sign(digest),
        )


class Archive:
    """An archive file; nothing that is in it is trusted before it was examined."""

    def __init__(self, path: Path) -> None:
        """Open the file at *path*.

        Raises:
            ArchiveBroken: it is no archive, or one of a format that this program does not know.
            OSError: it cannot be read.
        """
        self.path = path
        self.header = next(frames(path)).header
        if self.header.format_version != FORMAT_VERSION:
            told = f"format {self.header.format_version}; this program knows format {FORMAT_VERSION}: upgrade it"
            raise ArchiveBroken(str(path), 0, told)

    def sha256(self) -> str:
        """Return the digest of the whole file."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def examine(
        self, keys: Keys, types: EventTypes, each: Callable[[Stored], object] = lambda stored: None
    ) -> Examined:
        """Check the whole file, handing every commit that was found right to *each*, up to the first fault.

        Every stream has to be whole from its first commit. A commit that was signed with a key which is not in *keys*
        is checked in everything but its signature; `signed` says so.

        Raises:
            ArchiveBroken: the file is not whole, or was changed after it was written.
        """
        reader, tally = _Reader(keys, types), Tally(1)
        fault: Fault | None = None
        for frame in frames(self.path):
            if frame.HasField("commit") and fault is None:
                try:
                    stored = reader.verified(frame.commit)
                except (LogCorrupt, UnknownEventType) as error:
                    fault = fault_of(error, frame.commit.position)
                else:
                    tally.add(stored)
                    each(stored)
            elif frame.HasField("end") and fault is None:
                self._check_end(frame.end, tally.checked(), keys)
                reader.note_signer(frame.end.key_id)
        return Examined(
            subject=self.header.subject,
            log_created_ns=self.header.log_created_ns,
            format_version=self.header.format_version,
            signed=reader.signed,
            checked=tally.checked(fault),
        )

    def commits(self, keys: Keys, types: EventTypes) -> Iterator[Stored]:
        """Yield the commits one after the other, each verified; none is kept. That the file is whole, `examine` tells.

        Raises:
            ArchiveBroken, LogCorrupt, UnknownEventType: at the first commit that is not as it should be.
        """
        reader = _Reader(keys, types)
        for frame in frames(self.path):
            if frame.HasField("commit"):
                yield reader.verified(frame.commit)

    def _check_end(self, end: ArchiveEnd, checked: Checked, keys: Keys) -> None:
        size = self.path.stat().st_size
        if (end.commits, end.events) != (checked.commits, checked.events):
            told = (
                f"{checked.commits} commits with {checked.events} events, its end tells of {end.commits}, {end.events}"
            )
            raise ArchiveBroken(str(self.path), size, told)
        if end.key_id in keys.ids() and not keys.verify(end.sha256, end.key_id, end.signature):
            raise ArchiveBroken(str(self.path), size, "the signature of its end is wrong")


class _Reader:
    """Verifies commits one after the other; `signed` while every one of them was signed by a key at hand."""

    def __init__(self, keys: Keys, types: EventTypes) -> None:
        self._codec = CommitCodec(keys, types)
        self._links: dict[StreamName, Link] = {}
        self._position = 0
        self.signed = True

    def note_signer(self, key_id: str) -> bool:
        """Note who signed something; say whether that can be checked."""
        known = key_id in self._codec.keys.ids()
        self.signed = self.signed and known
        return known

    def verified(self, commit: ArchivedCommit) -> Stored:
        if commit.position <= self._position:
            raise LogCorrupt(commit.position, "position", f"one after {self._position}", str(commit.position))
        stream = StreamName(commit.aggregate, commit.aggregate_id)
        unseal = self._codec.unseal if self.note_signer(key_id_of(commit.sealed)) else self._codec.unseal_unsigned
        events = unseal(commit.sealed, commit.position, stream, self._links.get(stream, START))
        self._links[stream], self._position = link_after(commit.sealed, events), commit.position
        return Stored(commit.position, stream, commit.sealed, events)


async def _commits_of(
    store: EventStore, wanted: frozenset[StreamName], identity: LogIdentity
) -> AsyncGenerator[Stored, None]:
    async with aclosing(store.read_stored(until=identity.last_position)) as commits:
        async for stored in commits:
            if stored.stream in wanted:
                yield stored


def _archived(stored: Stored) -> ArchivedCommit:
    aggregate, aggregate_id = stored.stream
    return ArchivedCommit(position=stored.position, aggregate=aggregate, aggregate_id=aggregate_id, sealed=stored.data)


def _descriptors(kinds: Collection[type[Message]]) -> bytes:
    """Return a FileDescriptorSet of the files that define *kinds* and all they import, each after what it needs."""
    described = FileDescriptorSet()
    names: set[str] = set()

    def add(file: FileDescriptor) -> None:
        if file.name not in names:
            names.add(file.name)
            for needed in file.dependencies:
                add(needed)
            file.CopyToProto(described.file.add())

    for kind in kinds:
        add(cast("FileDescriptor", kind.DESCRIPTOR.file))
    return described.SerializeToString(deterministic=True)
