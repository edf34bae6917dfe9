"""Putting a question to the projections: to their projector if the stack runs, else to the file itself."""

from contextlib import closing

import msgspec

from actors.projector import CATALOGUE, ask_projector
from eventstore.errors import EventStoreError, LogCorrupt, LogReplaced, UnknownEventType
from eventstore.projection.errors import PositionNotReached, QueryRefused, QueryTimedOut
from eventstore.projection.file import open_file
from eventstore.projection.live import Question
from eventstore.projection.query import DEFAULT_LIMITS, Answer, Halted, Past, answer
from eventstore.projection.rebuild import open_for
from eventstore.projection.runner import catch_up
from ops.cli.errors import NoLog
from ops.cli.log import OpenLog, open_log
from ops.cli.options import Options
from ops.cli.output import say

DATABASE = "projections.duckdb"

HINTS = {
    "not_sql": "the SQL is DuckDB's: https://duckdb.org/docs/sql/introduction",
    "not_one_statement": "a file may hold several: esper query -f questions.sql",
    "not_a_question": "the tables follow from the log, so only SELECT and EXPLAIN are answered",
    "writes": "the tables follow from the log, so no question may change them",
    "outside_access": "only what the log holds can be asked; take results elsewhere with --csv or --json",
    "unknown_name": "the views there are: esper query --list",
    "too_much_memory": "filter or aggregate before you sort or join",
    "failed": "the sentence above is DuckDB's",
}


async def ask(sql: str, at: int | None, options: Options) -> Answer:
    """Answer *sql* about the log as it is now, or as it was *at* a position; say so if the answer may be old.

    Raises: as `ask_projector` and `open_log`.
    """
    try:
        async with open_log(options) as log:
            found = await (_ask_projector(log, sql, at) if log.stack_up else _ask_file(log, sql, at))
    except NoLog:
        database = options.folder / DATABASE
        if not database.exists():
            raise
        say("there is no log here to catch up with: the answer is the file's")
        with closing(open_file(database)) as connection:
            found = answer(connection, sql, DEFAULT_LIMITS, _past(at))
    if found.truncated:
        say(f"only the first {len(found.rows)} rows: ask for less, or aggregate")
    if found.halted:
        say(f"as of position {found.position}: {found.halted.detail}")
    return found


def hint(error: EventStoreError) -> str:
    """Return what to try next after *error*; empty if its own sentence says so."""
    match error:
        case QueryRefused(reason=reason):
            return HINTS[reason]
        case QueryTimedOut():
            return "filter or aggregate earlier; `explain analyze` shows where the time goes"
        case _:
            return ""


async def _ask_projector(log: OpenLog, sql: str, at: int | None) -> Answer:
    head = (await log.store.identity()).last_position
    if at is not None and at > head:
        raise PositionNotReached(at, head)
    try:
        return await ask_projector(log.bus, Question(sql=sql, min_position=head, at=at))
    except PositionNotReached as late:
        if at is not None:
            raise
        say(f"the projector is behind: it has reached position {late.reached} of {head}")
        return await ask_projector(log.bus, Question(sql=sql))


async def _ask_file(log: OpenLog, sql: str, at: int | None) -> Answer:
    """Nobody owns the file, so bring it up to the log first."""
    try:
        with closing(await open_for(log.store, log.place.database, CATALOGUE)) as sink:
            await catch_up(log.store, sink)
            return answer(sink.connection, sql, DEFAULT_LIMITS, _past(at))
    except (LogCorrupt, LogReplaced, UnknownEventType) as error:
        with closing(open_file(log.place.database)) as connection:
            found = answer(connection, sql, DEFAULT_LIMITS, _past(at))
        halted = Halted(position=found.position, fault=type(error).__name__, detail=str(error))
        return msgspec.structs.replace(found, halted=halted)


def _past(at: int | None) -> Past | None:
    return None if at is None else Past(at, CATALOGUE)
