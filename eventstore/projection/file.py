"""Opening a projection file so that nothing outside it can be reached."""

from pathlib import Path

import duckdb

from eventstore.projection.annex import annex_path, attach
from eventstore.projection.declare import Annex
from eventstore.projection.errors import ProjectionsBusy, ProjectionsMissing

CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": False,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    # The training has the cores and the memory.
    "threads": 1,
    "memory_limit": "512MB",
    "temp_directory": "",
}


def open_for_writing(path: Path, annex: Annex | None = None) -> duckdb.DuckDBPyConnection:
    """Open or create the file at *path*, with *annex* beside it, and own both until the connection is closed.

    Raises:
        ProjectionsBusy: another process owns it.
    """
    return _open(path, read_only=False, annex=annex)


def open_file(path: Path) -> duckdb.DuckDBPyConnection:
    """Open the file at *path* for questions; several processes may, as long as nobody owns it for writing.

    Raises:
        ProjectionsMissing: there is none.
        ProjectionsBusy: a projector owns it: ask the projector.
    """
    if not path.exists():
        raise ProjectionsMissing(path)
    return _open(path, read_only=True)


def _open(path: Path, *, read_only: bool, annex: Annex | None = None) -> duckdb.DuckDBPyConnection:
    try:
        # Only until the annex is attached: files that are open may be used on, and no other can be opened.
        connection = duckdb.connect(
            path, read_only=read_only, config=CONFIG | {"enable_external_access": annex is not None}
        )
    except duckdb.IOException as error:
        if "lock" in str(error).lower():
            raise ProjectionsBusy(path, str(error).splitlines()[0]) from error
        raise
    try:
        if annex is not None:
            attach(connection, annex, annex_path(path, annex))
            connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
    except BaseException:
        connection.close()
        raise
    return connection
