"""The one writer of a projection file: rows and checkpoint in one transaction."""

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import duckdb

from eventstore.projection.checkpoint import CREATE, Checkpoint, read_checkpoint, write_checkpoint
from eventstore.projection.declare import Catalogue
from eventstore.projection.file import open_for_writing
from eventstore.store import LogIdentity, Recorded


class Sink:
    """Writes what a catalogue makes of events into one DuckDB file, which it owns until closed.

    Blocking, and safe to call from any thread: writes wait for each other, readers for nobody.
    """

    def __init__(self, path: Path, catalogue: Catalogue) -> None:
        """Open or create the file at *path*.

        Raises:
            ProjectionsBusy: another process owns it.
        """
        self.path, self.catalogue = path, catalogue
        self._columns = {name: tuple(columns) for name, columns in catalogue.tables.items()}
        self._partial: set[tuple[str, tuple[str, ...]]] = set()
        self._root = open_for_writing(path, catalogue.annex)
        self._writer = self._root.cursor()
        self._lock = threading.Lock()
        self._closed = False
        if not self._has_tables():
            self._create()
        self.outdated = self._stored_fingerprints() != catalogue.fingerprints
        self.checkpoint = read_checkpoint(self._writer)
        if not self.outdated:
            self._replace_views()

    def bind(self, log: LogIdentity) -> None:
        """Tie a fresh file to *log*; for a file with a checkpoint, refuse any other log.

        Raises:
            LogReplaced: the checkpoint is not one of *log*.
        """
        self.checkpoint.check_log(log)
        if self.checkpoint.log_created_ns == 0:
            with self._lock:
                bound = Checkpoint(log_created_ns=log.created_ns)
                self._commit({}, bound)
                self.checkpoint = bound

    def write(self, batch: Sequence[Recorded]) -> Checkpoint:
        """Add the rows of those events of *batch* that are new and move the checkpoint, all or nothing.

        Raises:
            LogReplaced, LogCorrupt: the batch does not follow on the checkpoint; nothing was written.
        """
        with self._lock:
            checkpoint, fresh = self.checkpoint.after(batch)
            if fresh:
                self._commit(self._rows(fresh), checkpoint)
                self.checkpoint = checkpoint
            return checkpoint

    @property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """What questions make their cursors from; nothing is ever executed on it, so that none waits for another."""
        return self._root

    def close(self) -> None:
        """Fold the write-ahead log into the file and let go of it, after the write that is under way."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._writer.execute("CHECKPOINT")
                if self.catalogue.annex is not None:
                    self._writer.execute(f"CHECKPOINT {self.catalogue.annex.name}")
                self._writer.close()
                self._root.close()

    def abandon(self) -> None:
        """Let go of a file that is about to be replaced, whatever state it is in."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._writer.close()
                self._root.close()

    def _commit(self, rows: Mapping[str, Sequence[tuple[object, ...]]], checkpoint: Checkpoint) -> None:
        self._writer.execute("BEGIN TRANSACTION")
        try:
            for table, values in rows.items():
                with self._writer.appender(table) as appender:
                    appender.append_rows(values)
            write_checkpoint(self._writer, checkpoint)
            self._writer.execute("COMMIT")
        except BaseException:
            self._writer.execute("ROLLBACK")
            raise

    def _rows(self, events: Sequence[Recorded]) -> dict[str, list[tuple[object, ...]]]:
        """Return what *events* become, by table, each row in the order of its table's columns."""
        rows: dict[str, list[tuple[object, ...]]] = {}
        for projection in self.catalogue.projections:
            of_event = projection.rows
            for recorded in events:
                for table, values in of_event(recorded):
                    columns, shape = self._columns[table], tuple(values)
                    if shape == columns:
                        row = tuple(values.values())
                    else:
                        if (table, shape) not in self._partial:
                            self._admit(table, shape)
                        row = tuple(map(values.get, columns))
                    rows.setdefault(table, []).append(row)
        return rows

    def _admit(self, table: str, shape: tuple[str, ...]) -> None:
        """Note that rows of *table* may have the columns *shape* only, unless it declares no such columns."""
        if undeclared := set(shape) - set(self._columns[table]):
            raise KeyError(f"table {table} declares no column {', '.join(sorted(undeclared))}")
        self._partial.add((table, shape))

    def _has_tables(self) -> bool:
        found = self._writer.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = 'projection_checkpoint'")
        return found.fetchone() is not None

    def _create(self) -> None:
        self._writer.execute("BEGIN TRANSACTION")
        for name, columns in self.catalogue.tables.items():
            self._writer.execute(f'CREATE TABLE "{name}" ({", ".join(f"{c} {kind}" for c, kind in columns.items())})')
        self._writer.execute("CREATE TABLE projections (name VARCHAR, fingerprint VARCHAR)")
        for name, fingerprint in self.catalogue.fingerprints.items():
            self._writer.execute("INSERT INTO projections VALUES (?, ?)", [name, fingerprint])
        self._writer.execute(CREATE)
        write_checkpoint(self._writer, Checkpoint())
        self._writer.execute("COMMIT")

    def _stored_fingerprints(self) -> dict[str, str]:
        return dict(self._writer.execute("SELECT name, fingerprint FROM projections").fetchall())

    def _replace_views(self) -> None:
        self._writer.execute("BEGIN TRANSACTION")
        own = "SELECT view_name FROM duckdb_views() WHERE NOT internal AND database_name = current_database()"
        for (stale,) in self._writer.execute(own).fetchall():
            self._writer.execute(f'DROP VIEW "{stale}"')
        for view in self.catalogue.views:
            self._writer.execute(f'CREATE VIEW "{view.name}" AS {view.sql}')
        self._writer.execute("COMMIT")
