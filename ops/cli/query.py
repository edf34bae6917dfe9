"""`esper query` and `esper project`: the log as tables, asked in SQL."""

import asyncio
import sys
from contextlib import closing
from pathlib import Path
from typing import Annotated

import duckdb
import msgspec
from cyclopts import Parameter

from actors.projector import ANNEX, CATALOGUE, ask_projector, ask_rebuild
from eventstore.projection.checkpoint import Checkpoint, read_checkpoint
from eventstore.projection.errors import QueryRefused
from eventstore.projection.file import open_file
from eventstore.projection.live import Question
from eventstore.projection.rebuild import content_hash, open_for, rebuild
from eventstore.projection.runner import catch_up
from ops.cli.answers import Mode, show
from ops.cli.asking import ask
from ops.cli.errors import CommandFailed
from ops.cli.log import OpenLog, open_log
from ops.cli.options import DEFAULTS, Options
from ops.cli.output import print_json, print_table, say

VIEWS = tuple((view.name, view.help) for view in (*CATALOGUE.views, *ANNEX.views))


class Projected(msgspec.Struct, frozen=True, kw_only=True):
    """How far the projections have come, and a digest of each table's rows (empty while a projector owns the file)."""

    position: int
    events: int
    tables: dict[str, str]


def query(
    sql: str = "",
    *,
    file: Annotated[Path | None, Parameter(name=("--file", "-f"))] = None,
    at: int | None = None,
    list: Annotated[bool, Parameter(negative="")] = False,  # noqa: A002 - the option is called --list
    csv: Annotated[bool, Parameter(negative="")] = False,
    markdown: Annotated[bool, Parameter(negative="")] = False,
    options: Options = DEFAULTS,
) -> None:
    """Ask the projections in SQL (DuckDB's); nothing that it says can change anything.

    Without a question, on a terminal, it asks for one after the other.

    Args:
        sql: One SELECT, such as "select * from run_summary".
        file: Ask what this file holds: one or more SELECTs.
        at: Answer as the tables were at this position of the log.
        list: Show the views there are and what each answers.
        csv: Print comma-separated values.
        markdown: Print a Markdown table.
    """
    mode = _mode(csv=csv, markdown=markdown, json=options.json)
    if list:
        _show_views(options)
    elif file is not None and sql:
        raise CommandFailed("ask one thing: either a question or a file of them")
    elif sql:
        show(asyncio.run(ask(sql, at, options)), mode)
    elif file is not None:
        _ask_all(_questions_in(file), at, mode, options)
    elif sys.stdin.isatty():
        from ops.cli.prompt import Prompt, converse

        prompt = Prompt(lambda asked, then: asyncio.run(ask(asked, then, options)), VIEWS, mode)
        if at is not None:
            prompt.take(f".at {at}")
        converse(prompt, options.folder / "query_history")
    else:
        raise CommandFailed('what is the question? esper query "select * from run_summary", or esper query --list')


def _mode(*, csv: bool, markdown: bool, json: bool) -> Mode:
    if csv + markdown + json > 1:
        raise CommandFailed("choose one of --csv, --markdown and --json")
    if csv:
        return "csv"
    if markdown:
        return "markdown"
    return "json" if json else "table"


def _ask_all(questions: tuple[str, ...], at: int | None, mode: Mode, options: Options) -> None:
    for number, asked in enumerate(questions):
        if number and mode != "json":
            sys.stdout.write("\n")
        show(asyncio.run(ask(asked, at, options)), mode)


def _questions_in(file: Path) -> tuple[str, ...]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandFailed(f"cannot read {file}: {error}") from error
    try:
        with duckdb.connect() as parser:
            questions = tuple(statement.query for statement in parser.extract_statements(text))
    except duckdb.Error as error:
        raise QueryRefused("not_sql", str(error).strip()) from error
    if not questions:
        raise CommandFailed(f"{file} holds no question")
    return questions


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
    if options.json:
        print_json({"view": name, "answers": answers} for name, answers in VIEWS)
    else:
        print_table(("view", "answers"), VIEWS)
