"""Whole results as Arrow, for notebooks: the bytes of an IPC stream. Needs pyarrow, which nothing else here does."""

from importlib import import_module
from typing import Any

import duckdb
import msgspec

from eventstore.projection.errors import ArrowMissing, FrameTooLarge
from eventstore.projection.query import Halted, Limits, Past, asking

ROWS_AT_ONCE = 10_000


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """A result in Arrow's IPC format, with the position it knows; `halted` as in an `Answer`."""

    arrow: bytes
    position: int
    halted: Halted | None = None


def frame(connection: duckdb.DuckDBPyConnection, sql: str, limits: Limits, past: Past | None = None) -> Frame:
    """Answer one question with all its rows; see `asking`.

    Raises:
        FrameTooLarge: more than `limits.frame_bytes`; a part is never returned for the whole.
        ArrowMissing: pyarrow is not installed.
    """
    arrow = pyarrow()
    with asking(connection, sql, limits, past) as asked:
        found: Any = asked.cursor.sql(asked.statement).to_arrow_reader(ROWS_AT_ONCE)
        out = arrow.BufferOutputStream()
        with found as batches, arrow.ipc.new_stream(out, batches.schema) as writer:
            for batch in batches:
                writer.write_batch(batch)
                if out.tell() > limits.frame_bytes:
                    raise FrameTooLarge(limits.frame_bytes)
    return Frame(arrow=out.getvalue().to_pybytes(), position=asked.position)


def table(arrow_bytes: bytes) -> Any:
    """Return the `pyarrow.Table` that a frame's bytes hold.

    Raises:
        ArrowMissing: pyarrow is not installed.
    """
    return pyarrow().ipc.open_stream(arrow_bytes).read_all()


def pyarrow() -> Any:
    """Return the module, imported when it is first needed.

    Raises:
        ArrowMissing: it is not installed.
    """
    try:
        import_module("pyarrow.ipc")
        return import_module("pyarrow")
    except ModuleNotFoundError as error:
        raise ArrowMissing from error
