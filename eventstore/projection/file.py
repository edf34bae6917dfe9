"""Opening a projection file so that nothing outside it can be reached."""

from pathlib import Path

import duckdb

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


def open_for_writing(path: Path) -> duckdb.DuckDBPyConnection:
    """Open or create the file at *path* and own it until the connection is closed.

    Raises:
        ProjectionsBusy: another process owns it.
    """
    return _open(path, read_only=False)


def open_file(path: Path) -> duckdb.DuckDBPyConnection:
    """Open the file at *path* for questions; several processes may, as long as nobody owns it for writing.

    Raises:
        ProjectionsMissing: there is none.
        ProjectionsBusy: a projector owns it: ask the projector.
    """
    if not path.exists():
        raise ProjectionsMissing(path)
    return _open(path, read_only=True)


def _open(path: Path, *, read_only: bool) -> duckdb.DuckDBPyConnection:
    try:
        connection = duckdb.connect(path, read_only=read_only, config=CONFIG)
    except duckdb.IOException as error:
        if "lock" in str(error).lower():
            raise ProjectionsBusy(path, str(error).splitlines()[0]) from error
        raise
    connection.execute("SET lock_configuration = true")
    return connection
