"""How Nissa declares a projection: the shape that an event store's runner asks for."""

from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

import msgspec

from esper.nissa.recorded import RecordedEvent

Row: TypeAlias = tuple[str, Mapping[str, object]]
"""A table's name and the values of one row; a column that is left out is NULL, JSON is text."""


class Projection(msgspec.Struct, frozen=True, kw_only=True):
    """Tables, and the pure function from one event to their rows. Rows are only ever added."""

    name: str
    version: int
    tables: Mapping[str, Mapping[str, str]]
    rows: Callable[[RecordedEvent], Iterable[Row]]
