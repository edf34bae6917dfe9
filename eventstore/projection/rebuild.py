"""A projection file made anew from the first event, and what tells whether two files say the same."""

import asyncio
import hashlib
import os
from pathlib import Path

import duckdb
import msgspec

from eventstore.projection.batches import CATCHING_UP, Batching
from eventstore.projection.checkpoint import Checkpoint
from eventstore.projection.declare import Catalogue
from eventstore.projection.runner import catch_up
from eventstore.projection.sink import Sink
from eventstore.store import EventStore

ROWS_AT_ONCE = 10_000
BOOKKEEPING = ("projections", "projection_checkpoint")


async def rebuild(store: EventStore, path: Path, catalogue: Catalogue, batching: Batching = CATCHING_UP) -> Checkpoint:
    """Project the whole log into a fresh file and put it in place of *path*, at once; return its checkpoint.

    Whatever was at *path* is replaced, even if it came from another log or is damaged. A crash leaves the old file.

    Raises:
        ProjectionsBusy: another process owns the file.
        LogCorrupt, UnknownEventType: the log cannot be read to its end; the old file stays.
    """
    old = _owned(path, catalogue)
    try:
        fresh = await build_beside(store, path, catalogue, batching)
    finally:
        if old is not None:
            old.close()
    fresh.close()
    swap_in(path)
    return fresh.checkpoint


async def open_for(store: EventStore, path: Path, catalogue: Catalogue) -> Sink:
    """Open the file at *path* for *store*: created if missing, rebuilt if it was made by other projections.

    Raises:
        ProjectionsBusy: another process owns the file.
        LogReplaced: it was made from another log; it stays as it is.
    """
    sink = await asyncio.to_thread(Sink, path, catalogue)
    try:
        await asyncio.to_thread(sink.bind, await store.identity())
    except BaseException:
        sink.close()
        raise
    if not sink.outdated:
        return sink
    sink.close()
    await rebuild(store, path, catalogue)
    return await asyncio.to_thread(Sink, path, catalogue)


async def build_beside(store: EventStore, path: Path, catalogue: Catalogue, batching: Batching = CATCHING_UP) -> Sink:
    """Return the sink of a fresh file beside *path* that holds the whole log up to its present head."""
    building = building_path(path)
    for leftover in (building, _write_ahead(building)):
        leftover.unlink(missing_ok=True)
    # The annex is that of the file in use: nothing of it is rebuilt.
    fresh = Sink(building, msgspec.structs.replace(catalogue, annex=None))
    try:
        await catch_up(store, fresh, batching)
    except BaseException:
        fresh.close()
        raise
    return fresh


def swap_in(path: Path) -> None:
    """Put the closed file built beside *path* in its place; the file at *path* must be closed too."""
    building = building_path(path)
    _sync(building)
    # A write-ahead log that outlived its file would be replayed into the new one.
    _write_ahead(path).unlink(missing_ok=True)
    building.replace(path)
    _sync(path.parent)


def building_path(path: Path) -> Path:
    """Return where the next version of the file at *path* is built."""
    return path.with_suffix(f".building{path.suffix}")


def content_hash(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """Return a digest of every projected table's rows, whatever the order and the batches they were written in."""
    own = "SELECT table_name FROM duckdb_tables() WHERE NOT internal AND database_name = current_database() ORDER BY 1"
    found = connection.execute(own).fetchall()
    return {name: _table_hash(connection, name) for (name,) in found if name not in BOOKKEEPING}


def _table_hash(connection: duckdb.DuckDBPyConnection, table: str) -> str:
    digest = hashlib.sha256()
    rows = connection.execute(f'SELECT * FROM "{table}" ORDER BY ALL')  # noqa: S608 a name from the catalogue
    while chunk := rows.fetchmany(ROWS_AT_ONCE):
        for row in chunk:
            digest.update(msgspec.json.encode(row) + b"\n")
    return digest.hexdigest()


def _owned(path: Path, catalogue: Catalogue) -> Sink | None:
    """Own the file at *path* while its successor is built, unless there is none or it cannot be read."""
    if not path.exists():
        return None
    try:
        return Sink(path, catalogue)
    except duckdb.Error:
        return None


def _write_ahead(path: Path) -> Path:
    return path.with_name(path.name + ".wal")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
