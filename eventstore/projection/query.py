"""Questions in SQL that can read everything in the file and change nothing."""

import threading
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import cast
from uuid import UUID

import duckdb
import msgspec

from eventstore.projection.checkpoint import read_checkpoint
from eventstore.projection.errors import QueryRefused, QueryTimedOut, RefusalReason

QUESTIONS = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)
ROWS_AT_ONCE = 500
LARGEST_INTEGER = 2**53

REASONS: tuple[tuple[type[duckdb.Error], RefusalReason], ...] = (
    (duckdb.TransactionException, "writes"),
    (duckdb.PermissionException, "outside_access"),
    (duckdb.ParserException, "not_sql"),
    (duckdb.SyntaxException, "not_sql"),
    (duckdb.CatalogException, "unknown_name"),
    (duckdb.BinderException, "unknown_name"),
    (duckdb.Error, "failed"),
)


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much one question may take. `answer_bytes` stays below what one NATS message carries by default."""

    rows: int = 10_000
    seconds: float = 10.0
    answer_bytes: int = 900_000


DEFAULT_LIMITS = Limits()


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The rows a question found, as JSON has them, and up to which position the log was known.

    `truncated`: there were more rows than a limit allowed. `lagging`: the position asked for was not reached in time.
    `halted`: why the projections no longer follow the log; empty while they do.
    """

    columns: tuple[str, ...]
    rows: list[list[object]]
    position: int
    truncated: bool = False
    lagging: bool = False
    halted: str = ""


def answer(connection: duckdb.DuckDBPyConnection, sql: str, limits: Limits = DEFAULT_LIMITS) -> Answer:
    """Answer one question on a cursor of its own, in a read-only transaction that is always rolled back.

    Raises:
        QueryRefused: *sql* is not exactly one SELECT or EXPLAIN, or it tried to write or to reach outside.
        QueryTimedOut: it was stopped at its time limit.
    """
    cursor = connection.cursor()
    alarm = threading.Timer(limits.seconds, cursor.interrupt)
    try:
        statement = _one_question(cursor, sql)
        cursor.execute("BEGIN TRANSACTION READ ONLY")
        alarm.start()
        try:
            position = read_checkpoint(cursor).position
            cursor.execute(statement)
            columns = tuple(str(column[0]) for column in cursor.description or ())
            rows, truncated = _fetch(cursor, limits)
        finally:
            alarm.cancel()
            cursor.execute("ROLLBACK")
    except duckdb.InterruptException as error:
        raise QueryTimedOut(limits.seconds) from error
    except duckdb.Error as error:
        raise QueryRefused(_reason(error), str(error).strip()) from error
    finally:
        cursor.close()
    return Answer(columns=columns, rows=rows, position=position, truncated=truncated)


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


def _reason(error: duckdb.Error) -> RefusalReason:
    return next(reason for kind, reason in REASONS if isinstance(error, kind))
