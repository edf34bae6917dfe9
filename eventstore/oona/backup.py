"""A whole log with its blobs in a folder, tried before it is called a backup; and put back where there is none.

backup.json   what it is of, written last    log.snapshot   the server's copy of the stream    blobs/   ab/abcdef...
"""

import hashlib
import tempfile
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from secrets import token_hex
from typing import Any

import msgspec

from eventstore.blobs import FolderBlobs
from eventstore.errors import BackupRefused
from eventstore.oona.connection import Connection
from eventstore.oona.copying import CopyBegun, StreamCopy, put_back
from eventstore.oona.credentials import Login, User
from eventstore.oona.jetstream import JetStream, Refused, StreamInfo
from eventstore.oona.log import open_log
from eventstore.oona.server import LocalServer
from eventstore.oona.store import BIRTH
from eventstore.oona.streams import EVENTS
from eventstore.signing import Keys
from eventstore.store import BlobStore, EventTypes, LogIdentity
from eventstore.verification import Checked, Progress, verify_log

FORMAT_VERSION = 1
SNAPSHOT, CONTENTS = "log.snapshot", "backup.json"
CHUNK_BYTES = 128 * 1024


class Backup(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup holds, as its `backup.json` says."""

    format_version: int
    taken_at_ns: int
    log: LogIdentity
    snapshot_sha256: str
    snapshot_bytes: int
    blobs: int
    checked: Checked
    config: dict[str, Any]
    state: dict[str, Any]


class Ring(msgspec.Struct, frozen=True):
    """With what a log is verified."""

    keys: Keys
    types: EventTypes


async def back_up(
    url: str,
    blobs: BlobStore,
    target: Path,
    ring: Ring,
    *,
    now_ns: int,
    environ: Mapping[str, str],
    progress: Progress = lambda done, of: None,
    login: Login | None = None,
) -> Backup:
    """Copy the log at *url* as it stands now, and its *blobs*, to *target*; then put the copy back on a server
    of its own for a moment and verify every commit there.

    Nobody has to stop: what is recorded meanwhile is not in the copy. The signing key is not in it either.

    Raises:
        BackupRefused: *target* holds a backup already, or the copy does not verify.
        BlobCorrupt: a blob is damaged.
        StoreUnavailable: the log did not answer.
    """
    _make_room(target)
    async with open_log(url, keys=ring.keys, types=ring.types, commands=ring.types, login=login) as log:
        identity = await log.store.identity()
    async with _jetstream(url, login) as jetstream:
        copy = StreamCopy(jetstream, EVENTS)
        begun = await copy.begin()
        digest, size = await _write(target / SNAPSHOT, copy)
    # A blob is stored before the event that names it: copied after the log, none that the copy needs is missing.
    copied = _copy_blobs(blobs, FolderBlobs(target / "blobs"))
    last = int(begun.state["last_seq"])
    checked = await _tried(target, begun, last, ring, environ, progress)
    backup = Backup(
        format_version=FORMAT_VERSION,
        taken_at_ns=now_ns,
        log=msgspec.structs.replace(identity, last_position=last),
        snapshot_sha256=digest,
        snapshot_bytes=size,
        blobs=copied,
        checked=checked,
        config=begun.config,
        state=begun.state,
    )
    draft = target / f".{CONTENTS}"
    draft.write_bytes(msgspec.json.format(msgspec.json.encode(backup), indent=2))
    draft.replace(target / CONTENTS)
    return backup


def read_backup(source: Path) -> Backup:
    """Return what the backup in *source* says of itself, after checking that its copy of the log is whole.

    Raises:
        BackupRefused: there is none, or its bytes are not those that were written.
    """
    try:
        backup = msgspec.json.decode((source / CONTENTS).read_bytes(), type=Backup)
        with (source / SNAPSHOT).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError) as error:
        raise BackupRefused(str(source), f"this is no whole backup: {error}") from error
    if backup.format_version != FORMAT_VERSION:
        raise BackupRefused(str(source), f"format {backup.format_version}; this program knows {FORMAT_VERSION}")
    if digest != backup.snapshot_sha256:
        raise BackupRefused(str(source), f"{SNAPSHOT} has SHA-256 {digest}, not {backup.snapshot_sha256}")
    return backup


async def restore(
    source: Path, url: str, blobs: Path, ring: Ring, *, progress: Progress, login: Login | None = None
) -> Checked:
    """Put the backup in *source* onto the server at *url*, which has no log yet, and its blobs into *blobs*; verify it.

    The log keeps its positions and the birth by which checkpoints know it.

    Raises:
        BackupRefused: the backup is damaged, the server has a log, or what came out is not what went in.
    """
    backup = read_backup(source)
    _copy_blobs(FolderBlobs(source / "blobs"), FolderBlobs(blobs))
    async with _jetstream(url, login) as jetstream:
        begun = CopyBegun(config=backup.config, state=backup.state)
        info = await put_back(jetstream, begun, _chunks(source / SNAPSHOT))
        await _remember_birth(jetstream, info, backup.log.created_ns)
    return await _verified(url, backup.log.last_position, ring, str(source), progress, login)


async def _tried(
    target: Path, begun: CopyBegun, last: int, ring: Ring, environ: Mapping[str, str], progress: Progress
) -> Checked:
    with tempfile.TemporaryDirectory(prefix=".trial-", dir=target) as folder:
        # The copy is as secret as the log: for as long as it is tried, nobody else may look at it either.
        login = Login(name="trial", password=token_hex(32))
        alone = User(name=login.name, password=login.password, publish=(">",), subscribe=(">",))
        server = LocalServer(Path(folder), environ=environ, tied=True, users=[alone])
        await server.start()
        try:
            async with _jetstream(server.url, login) as jetstream:
                await put_back(jetstream, begun, _chunks(target / SNAPSHOT))
            return await _verified(server.url, last, ring, str(target), progress, login)
        finally:
            await server.stop()


async def _verified(url: str, last: int, ring: Ring, where: str, progress: Progress, login: Login | None) -> Checked:
    async with open_log(url, keys=ring.keys, types=ring.types, commands=ring.types, login=login) as log:
        checked = await verify_log(log.store, progress=progress)
    if checked.fault is not None:
        fault = checked.fault
        told = f"position {fault.position}: {fault.kind}: expected {fault.expected}, found {fault.found}"
        raise BackupRefused(where, f"the copy does not verify: {told}")
    if checked.last_position != last:
        raise BackupRefused(where, f"the copy ends at position {checked.last_position}, not at {last}")
    return checked


async def _write(path: Path, copy: StreamCopy) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    with path.open("wb") as file:
        async with aclosing(copy.chunks()) as chunks:
            async for chunk in chunks:
                file.write(chunk)
                digest.update(chunk)
                size += len(chunk)
    return digest.hexdigest(), size


async def _chunks(path: Path) -> AsyncGenerator[bytes, None]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def _make_room(target: Path) -> None:
    if (target / CONTENTS).exists():
        raise BackupRefused(str(target), "there is a backup already: name another folder")
    target.mkdir(parents=True, exist_ok=True)


def _copy_blobs(there: BlobStore, here: BlobStore) -> int:
    """Copy every blob, verified on the way; return how many there are."""
    digests = there.digests()
    for digest in digests:
        here.put_chunks(there.chunks(digest))
    return len(digests)


async def _remember_birth(jetstream: JetStream, info: StreamInfo, created_ns: int) -> None:
    """Note when the log was first created: to the server, the restored stream is new."""
    doing = f"noting the birth of {EVENTS}"
    metadata = {**info.config.get("metadata", {}), BIRTH: str(created_ns)}
    try:
        await jetstream.ask(f"STREAM.UPDATE.{EVENTS}", info.config | {"metadata": metadata}, StreamInfo, doing=doing)
    except Refused as refused:
        raise BackupRefused(EVENTS, refused.description) from refused


@asynccontextmanager
async def _jetstream(url: str, login: Login | None) -> AsyncGenerator[JetStream, None]:
    connection = Connection()
    await connection.open(url, name="backup", login=login)
    try:
        yield JetStream(connection)
    finally:
        await connection.close()
