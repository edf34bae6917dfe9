"""A projection file that cannot be read any more, though it opens."""

from pathlib import Path

import duckdb


def damage(path: Path) -> None:
    """Give the file a table of several blocks, and make those that hold its rows unreadable."""
    with duckdb.connect(path) as connection:
        connection.execute("create table many as select hash(range)::varchar as word from range(300000)")
    with path.open("r+b") as file:
        for at in range(600_000, path.stat().st_size - 4096, 100_000):
            file.seek(at)
            file.write(b"\xff" * 64)
