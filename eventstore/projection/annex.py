"""Tables of what is no record, in a file of their own beside the projections, and asked together with them.

They are in no content hash and are never rebuilt: what is in them came from streams that forget.
"""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import msgspec

from eventstore.projection.declare import Annex
from eventstore.projection.errors import ProjectionsBusy

BOOKKEEPING: Mapping[str, str] = {"fingerprint": "VARCHAR", "position": "UBIGINT"}

_log = logging.getLogger("eventstore.projection")


def annex_path(database: Path, annex: Annex) -> Path:
    """Return where the annex of the projections at *database* is."""
    return database.with_name(f"{annex.name}.duckdb")


def attach(connection: duckdb.DuckDBPyConnection, annex: Annex, path: Path) -> None:
    """Open or create *annex* at *path*, so that *connection* and all that come from it know its tables as `name.table`.

    A file that cannot be read, or that was made for other tables, is made anew: it is no record.

    Raises:
        ProjectionsBusy: another process owns it.
    """
    try:
        _attach(connection, annex, path)
    except duckdb.Error as error:
        if "lock" in str(error).lower():
            raise ProjectionsBusy(path, str(error).splitlines()[0]) from error
        _log.warning("%s, which is no record, was made anew: %s", path, str(error).splitlines()[0])
        for damaged in (path, path.with_name(path.name + ".wal")):
            damaged.unlink(missing_ok=True)
        _attach(connection, annex, path)


def heard(connection: duckdb.DuckDBPyConnection, annex: Annex) -> int:
    """Return up to which position of its stream the annex knows."""
    row = connection.execute(f"SELECT position FROM {annex.name}.annex").fetchone()  # noqa: S608 - a declared name
    return int(row[0]) if row else 0


def add(
    connection: duckdb.DuckDBPyConnection, annex: Annex, rows: Mapping[str, Sequence[tuple[object, ...]]], position: int
) -> None:
    """Add *rows*, by table, and note that its stream is known up to *position*; all or nothing."""
    connection.execute("BEGIN TRANSACTION")
    try:
        for table, values in rows.items():
            with connection.appender(f"{annex.name}.{table}") as appender:
                appender.append_rows(values)
        connection.execute(f"UPDATE {annex.name}.annex SET position = ?", [position])  # noqa: S608 - a declared name
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def forget(connection: duckdb.DuckDBPyConnection, annex: Annex, now: datetime) -> dict[str, int]:
    """Delete what is older than it is kept, and the oldest of what is too much; return how many rows, by table."""
    forgotten: dict[str, int] = {}
    for kept in annex.kept:
        table = f"{annex.name}.{kept.table}"
        oldest = now - timedelta(days=kept.days)
        edge = connection.execute(
            f"SELECT {kept.column} FROM {table} ORDER BY {kept.column} DESC OFFSET ? LIMIT 1",  # noqa: S608 - declared
            [kept.rows - 1],
        ).fetchone()
        until = max(oldest, edge[0]) if edge else oldest
        deleted = connection.execute(f"DELETE FROM {table} WHERE {kept.column} < ?", [until]).fetchone()  # noqa: S608
        if deleted and deleted[0]:
            forgotten[kept.table] = int(deleted[0])
    return forgotten


def _attach(connection: duckdb.DuckDBPyConnection, annex: Annex, path: Path) -> None:
    quoted = str(path).replace("'", "''")
    connection.execute(f"ATTACH '{quoted}' AS {annex.name}")
    try:
        if _stored_fingerprint(connection, annex) != _fingerprint(annex):
            _create(connection, annex)
        _replace_views(connection, annex)
    except BaseException:
        connection.execute(f"DETACH {annex.name}")
        raise


def _create(connection: duckdb.DuckDBPyConnection, annex: Annex) -> None:
    for kind, name in _contents(connection, annex):
        connection.execute(f'DROP {kind} {annex.name}."{name}"')
    for name, columns in {**annex.tables, "annex": BOOKKEEPING}.items():
        declared = ", ".join(f"{column} {kind}" for column, kind in columns.items())
        connection.execute(f'CREATE TABLE {annex.name}."{name}" ({declared})')
    stored = f"INSERT INTO {annex.name}.annex VALUES (?, 0)"  # noqa: S608 - a declared name
    connection.execute(stored, [_fingerprint(annex)])


def _replace_views(connection: duckdb.DuckDBPyConnection, annex: Annex) -> None:
    for kind, name in _contents(connection, annex):
        if kind == "VIEW":
            connection.execute(f'DROP VIEW {annex.name}."{name}"')
    for view in annex.views:
        connection.execute(f'CREATE VIEW {annex.name}."{view.name.removeprefix(annex.name + ".")}" AS {view.sql}')


def _contents(connection: duckdb.DuckDBPyConnection, annex: Annex) -> list[tuple[str, str]]:
    """Return what is in the annex, the views first: they hang on the tables."""
    return connection.execute(
        "SELECT 'VIEW', view_name FROM duckdb_views() WHERE NOT internal AND database_name = ?1 UNION ALL "
        "SELECT 'TABLE', table_name FROM duckdb_tables() WHERE NOT internal AND database_name = ?1 ORDER BY 1 DESC",
        [annex.name],
    ).fetchall()


def _stored_fingerprint(connection: duckdb.DuckDBPyConnection, annex: Annex) -> str:
    if ("TABLE", "annex") not in _contents(connection, annex):
        return ""
    row = connection.execute(f"SELECT fingerprint FROM {annex.name}.annex").fetchone()  # noqa: S608 - a declared name
    return str(row[0]) if row else ""


def _fingerprint(annex: Annex) -> str:
    columns = msgspec.json.encode({name: dict(columns) for name, columns in annex.tables.items()})
    return hashlib.sha256(columns).hexdigest()[:16]
