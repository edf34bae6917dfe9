"""Questions in SQL that can read everything in the file and change nothing."""

import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import cast
from uuid import UUID

import duckdb
import msgspec

from eventstore.projection.checkpoint import read_checkpoint
from eventstore.projection.declare import Catalogue
from eventstore.projection.errors import PositionNotReached, ProjectionsBroken, QueryRefused, QueryTimedOut
from eventstore.projection.errors import RefusalReason as Reason
from eventstore.projection.past import look_back

QUESTIONS = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)
ROWS_AT_ONCE = 500
LARGEST_INTEGER = 2**53
CORRUPT = "Corrupt database file"

REASONS: tuple[tuple[type[duckdb.Error], Reason], ...] = (
    (duckdb.OutOfMemoryException, "too_much_memory"),
    (duckdb.TransactionException, "writes"),
    (duckdb.PermissionException, "outside_access"),
    (duckdb.ParserException, "not_sql"),
    (duckdb.SyntaxException, "not_sql"),
    (duckdb.CatalogException, "unknown_name"),
    (duckdb.BinderException, "unknown_name"),
    (duckdb.Error, "failed"),
)


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much one question may take; the memory is limited for all of them together, when the file is opened.

    `answer_bytes` stays below what one NATS message carries by default; `frame_bytes` is for a result in Arrow.
    """

    rows: int = 10_000
    seconds: float = 10.0
    answer_bytes: int = 900_000
    frame_bytes: int = 64 * 2**20


DEFAULT_LIMITS = Limits()


class Halted(msgspec.Struct, frozen=True, kw_only=True):
    """Why the projections do not follow the log: the fault's name and sentence, and the position they stand at."""

    position: int
    fault: str
    detail: str


class Past(msgspec.Struct, frozen=True):
    """A position to look back to, and the catalogue whose tables and views are to stand as they did then."""

    position: int
    catalogue: Catalogue


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The rows a question found, as JSON has them, and up to which position the log was known.

    `truncated`: there were more rows than a limit allowed. `halted`: the projections no longer follow the log, so that
    this answer may be old; None while they do.
    """

    columns: tuple[str, ...]
    rows: list[list[object]]
    position: int
    truncated: bool = False
    halted: Halted | None = None


class Asked(msgspec.Struct, frozen=True):
    """A question that may be executed, once, on its cursor; and the position that its rows will know."""

    cursor: duckdb.DuckDBPyConnection
    statement: duckdb.Statement
    position: int


def answer(
    connection: duckdb.DuckDBPyConnection, sql: str, limits: Limits = DEFAULT_LIMITS, past: Past | None = None
) -> Answer:
    """Answer one question with rows; see `asking`."""
    with asking(connection, sql, limits, past) as asked:
        asked.cursor.execute(asked.statement)
        columns = tuple(str(column[0]) for column in asked.cursor.description or ())
        rows, truncated = _fetch(asked.cursor, limits)
    return Answer(columns=columns, rows=rows, position=asked.position, truncated=truncated)


@contextmanager
def asking(
    connection: duckdb.DuckDBPyConnection, sql: str, limits: Limits, past: Past | None = None
) -> Generator[Asked]:
    """Let one question be executed on a cursor of its own, in a read-only transaction that is always rolled back.

    Raises:
        QueryRefused: *sql* is not exactly one SELECT or EXPLAIN, or it tried to write or to reach outside.
        QueryTimedOut: it was stopped at its time limit.
        PositionNotReached: *past* is not past yet.
        ProjectionsBroken: the file cannot be read.
    """
    cursor = connection.cursor()
    alarm = threading.Timer(limits.seconds, cursor.interrupt)
    try:
        statement = _one_question(cursor, sql)
        if past is not None:
            look_back(cursor, past.catalogue, past.position)
        cursor.execute("BEGIN TRANSACTION READ ONLY")
        alarm.start()
        try:
            yield Asked(cursor, statement, _known(cursor, past))
        finally:
            alarm.cancel()
            cursor.execute("ROLLBACK")
    except duckdb.InterruptException as error:
        raise QueryTimedOut(limits.seconds) from error
    except duckdb.Error as error:
        if _is_ours(error):
            raise ProjectionsBroken(str(error).splitlines()[0]) from error
        raise QueryRefused(_reason(error), str(error).strip()) from error
    finally:
        cursor.close()


def _known(cursor: duckdb.DuckDBPyConnection, past: Past | None) -> int:
    reached = read_checkpoint(cursor).position
    if past is None:
        return reached
    if past.position > reached:
        raise PositionNotReached(past.position, reached)
    return past.position


def _one_question(cursor: duckdb.DuckDBPyConnection, sql: str) -> duckdb.Statement:
    statements = cursor.extract_statements(sql)
    if len(statements) != 1:
        raise QueryRefused("not_one_statement", f"ask one question at a time, not {len(statements)}")
    if statements[0].type not in QUESTIONS:
        raise QueryRefused("not_a_question", f"{statements[0].type.name} is neither SELECT nor EXPLAIN")
    return statements[0]


def _fetch(cursor: duckdb.DuckDBPyConnection, limits: Limits) -> tuple[list[list[object]], bool]:
    rows: list[list[object]] = []
    size = 0
    while chunk := cursor.fetchmany(ROWS_AT_ONCE):
        for found in chunk:
            row = [_plain(value) for value in found]
            size += len(msgspec.json.encode(row)) + 1
            if len(rows) >= limits.rows or size > limits.answer_bytes:
                return rows, True
            rows.append(row)
    return rows, False


def _plain(value: object) -> object:
    """Return *value* as JSON can carry it without loss; integers that doubles cannot hold become text."""
    match value:
        case None | bool() | str() | float():
            return value
        case int():
            return value if abs(value) <= LARGEST_INTEGER else str(value)
        case list() | tuple():
            return [_plain(item) for item in cast("Sequence[object]", value)]
        case dict():
            return {str(key): _plain(item) for key, item in cast("dict[object, object]", value).items()}
        case datetime() | date() | time():
            return value.isoformat()
        case bytes():
            return value.hex()
        case Decimal():
            return float(value)
        case timedelta() | UUID():
            return str(value)
        case _:
            return repr(value)


def _reason(error: duckdb.Error) -> Reason:
    return next(reason for kind, reason in REASONS if isinstance(error, kind))


def _is_ours(error: duckdb.Error) -> bool:
    """Whether the file or the database itself failed, whatever was asked."""
    broken = isinstance(error, duckdb.IOException | duckdb.FatalException | duckdb.InternalException)
    return broken or str(error).startswith(CORRUPT)
