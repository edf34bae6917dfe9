"""What a projection declares: its tables, and which rows an event becomes."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Protocol, TypeAlias

import msgspec

from eventstore.store import Recorded

Row: TypeAlias = tuple[str, Mapping[str, object]]
"""A table's name and the values of one row by column; a column that is left out is NULL. JSON travels as text."""


class Projection(Protocol):
    """A pure function from events to rows that are only ever added; state is what a view makes of them.

    Nothing is promised about when rows appear. Promised: the rows of one commit appear together, each once, whatever
    is redelivered; a rebuild from the first position gives the same rows.
    """

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> int:
        """Raised with every change of `tables` or `rows`; a file of another version is rebuilt."""
        ...

    @property
    def tables(self) -> Mapping[str, Mapping[str, str]]:
        """Table name -> column name -> DuckDB type. Each has a column `position`: the commit that a row came from."""
        ...

    def rows(self, recorded: Recorded, /) -> Iterable[Row]:
        """Return the rows that *recorded* becomes, from nothing but its content."""
        ...


class View(Protocol):
    """A named question: SQL over the tables, and one line that says what it answers."""

    @property
    def name(self) -> str: ...

    @property
    def help(self) -> str: ...

    @property
    def sql(self) -> str: ...


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """How long a table's rows are kept: *days* by the TIMESTAMP in *column*, and of those the newest *rows*."""

    table: str
    column: str
    days: float
    rows: int


class Annex(msgspec.Struct, frozen=True, kw_only=True):
    """Tables of what is no record, in the file `<name>.duckdb` beside the projections, known to SQL as `name.table`.

    Its views are named `name.view` too.
    """

    name: str
    tables: Mapping[str, Mapping[str, str]]
    views: tuple[View, ...] = ()
    kept: tuple[Retention, ...] = ()


class Catalogue(msgspec.Struct, frozen=True):
    """All projections and views that live in one file, and what is no record beside them."""

    projections: tuple[Projection, ...]
    views: tuple[View, ...] = ()
    annex: Annex | None = None

    @property
    def tables(self) -> dict[str, Mapping[str, str]]:
        """Every table of every projection."""
        return {name: columns for projection in self.projections for name, columns in projection.tables.items()}

    @property
    def fingerprints(self) -> dict[str, str]:
        """Projection name -> what changes when its version or its columns change."""
        return {projection.name: _fingerprint(projection) for projection in self.projections}

    def rows(self, recorded: Recorded) -> Iterable[Row]:
        """Return what every projection makes of *recorded*."""
        for projection in self.projections:
            yield from projection.rows(recorded)


def _fingerprint(projection: Projection) -> str:
    columns = msgspec.json.encode({name: dict(columns) for name, columns in projection.tables.items()})
    return f"{projection.version}:{hashlib.sha256(columns).hexdigest()[:16]}"
