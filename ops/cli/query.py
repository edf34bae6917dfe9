"""`esper query` and `esper project`: the log as tables, asked in SQL."""

import csv
import sys
from collections.abc import Sequence
from contextlib import closing

import msgspec

from actors.projector import ANNEX, CATALOGUE, ask_projector, ask_rebuild
from eventstore.errors import LogCorrupt, LogReplaced, UnknownEventType
from eventstore.projection.checkpoint import Checkpoint, read_checkpoint
from eventstore.projection.file import open_file
from eventstore.projection.live import Question
from eventstore.projection.query import Answer, answer
from eventstore.projection.rebuild import content_hash, open_for, rebuild
from eventstore.projection.runner import catch_up
from ops.cli.errors import CommandFailed, NoLog
from ops.cli.log import OpenLog, open_log
from ops.cli.options import DEFAULTS, Options
from ops.cli.output import print_json, print_table, say

DATABASE = "projections.duckdb"


class Projected(msgspec.Struct, frozen=True, kw_only=True):
    """How far the projections have come, and a digest of each table's rows (empty while a projector owns the file)."""

    position: int
    events: int
    tables: dict[str, str]


async def query(
    sql: str = "",
    *,
    list: bool = False,  # noqa: A002 - the option is called --list
    csv: bool = False,
    options: Options = DEFAULTS,
) -> None:
    """Ask the projections one question in SQL (DuckDB's); nothing that it says can change anything.

    Args:
        sql: One SELECT, such as "select * from run_summary".
        list: Show the views there are and what each answers.
        csv: Print comma-separated values.
    """
    if list:
        _show_views(options)
        return
    if not sql:
        raise CommandFailed('what is the question? esper query "select * from run_summary", or esper query --list')
    found = await _answer(sql, options)
    _show_answer(found, as_csv=csv, as_json=options.json)
    if found.truncated:
        say(f"only the first {len(found.rows)} rows: ask for less, or aggregate")
    if found.lagging or found.halted:
        say(f"as of position {found.position}: {found.halted or 'the projector has not caught up with the log yet'}")


async def project(*, rebuild: bool = False, options: Options = DEFAULTS) -> None:
    """Show how far the projections have come, with a digest per table.

    Args:
        rebuild: First make them anew from the log's first event; the digests come out the same.
    """
    async with open_log(options) as log:
        found = await _projected_up(log, anew=rebuild) if log.stack_up else await _projected_down(log, anew=rebuild)
    if options.json:
        print_json([found])
        return
    say(f"projected to position {found.position}, {found.events} events")
    if found.tables:
        print_table(("table", "digest"), sorted(found.tables.items()))
    else:
        say("the digests of the tables are for when the stack is down: its projector has the file")


async def _answer(sql: str, options: Options) -> Answer:
    database = options.folder / DATABASE
    try:
        async with open_log(options) as log:
            if log.stack_up:
                head = (await log.store.identity()).last_position
                return await ask_projector(log.bus, Question(sql=sql, min_position=head))
            return await _answer_from_file(log, sql)
    except NoLog:
        if not database.exists():
            raise
        say("there is no log here to catch up with: the answer is the file's")
        with closing(open_file(database)) as connection:
            return answer(connection, sql)


async def _answer_from_file(log: OpenLog, sql: str) -> Answer:
    """Nobody owns the file, so bring it up to the log first."""
    try:
        with closing(await open_for(log.store, log.place.database, CATALOGUE)) as sink:
            await catch_up(log.store, sink)
            return answer(sink.connection, sql)
    except (LogCorrupt, LogReplaced, UnknownEventType) as error:
        with closing(open_file(log.place.database)) as connection:
            return msgspec.structs.replace(answer(connection, sql), halted=str(error))


async def _projected_up(log: OpenLog, *, anew: bool) -> Projected:
    if anew:
        checkpoint = await ask_rebuild(log.bus)
        return Projected(position=checkpoint.position, events=checkpoint.events, tables={})
    head = (await log.store.identity()).last_position
    sql = "select position, events from projection_checkpoint"
    position, events = (await ask_projector(log.bus, Question(sql=sql, min_position=head))).rows[0]
    return Projected(position=int(str(position)), events=int(str(events)), tables={})


async def _projected_down(log: OpenLog, *, anew: bool) -> Projected:
    if anew:
        await rebuild(log.store, log.place.database, CATALOGUE)
    else:
        with closing(await open_for(log.store, log.place.database, CATALOGUE)) as sink:
            await catch_up(log.store, sink)
    with closing(open_file(log.place.database)) as connection:
        checkpoint: Checkpoint = read_checkpoint(connection)
        tables = content_hash(connection)
    return Projected(position=checkpoint.position, events=checkpoint.events, tables=tables)


def _show_views(options: Options) -> None:
    views = [{"view": view.name, "answers": view.help} for view in (*CATALOGUE.views, *ANNEX.views)]
    if options.json:
        print_json(views)
    else:
        print_table(("view", "answers"), [(view["view"], view["answers"]) for view in views])


def _show_answer(found: Answer, *, as_csv: bool, as_json: bool) -> None:
    if as_json:
        print_json(dict(zip(found.columns, row, strict=True)) for row in found.rows)
    elif as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(found.columns)
        writer.writerows(found.rows)
    else:
        print_table(found.columns, [_cells(row) for row in found.rows])


def _cells(row: Sequence[object]) -> tuple[str, ...]:
    return tuple("" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value) for value in row)
