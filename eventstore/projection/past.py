"""Tables as they stood at a position: rows are only ever added and each names its own, so the past is a filter."""

import duckdb

from eventstore.projection.declare import Catalogue


def look_back(cursor: duckdb.DuckDBPyConnection, catalogue: Catalogue, position: int) -> None:
    """Hide every table and view of *catalogue* from *cursor* behind what it was at *position*.

    The file is not touched: these are views of the cursor's own, gone when it is closed. Nothing is folded again, and
    a question costs what it costs on the present tables, with one more comparison per row.
    """
    found = cursor.execute("SELECT current_database()").fetchone()
    database = found[0] if found else ""
    for table in catalogue.tables:
        then = f'SELECT * FROM "{database}".main."{table}" WHERE position <= {int(position)}'  # noqa: S608 names of ours
        cursor.execute(f'CREATE TEMP VIEW "{table}" AS {then}')
    for view in catalogue.views:
        cursor.execute(f'CREATE TEMP VIEW "{view.name}" AS {view.sql}')
