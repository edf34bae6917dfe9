"""The prompt of `esper query`: one question after the other, with what there is to ask at hand."""

import atexit
import readline
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from eventstore.errors import EventStoreError
from eventstore.projection.query import Answer
from ops.cli.answers import MODES, Mode, show
from ops.cli.asking import hint
from ops.cli.errors import CommandFailed
from ops.cli.examples import EXAMPLES
from ops.cli.output import print_table, say

Ask: TypeAlias = Callable[[str, int | None], Answer]
GREETING = "SQL, ended by ; or an empty line. What there is: .views  .schema NAME  .examples  .help  .quit"
HELP = (
    (".views", "the named questions and what each answers"),
    (".schema [NAME]", "the columns of a view or table; without a name, all of them"),
    (".examples", "questions to begin with"),
    (".at POSITION", "answer as the tables were then; .at now: as they are"),
    (".mode MODE", f"one of {', '.join(MODES)}"),
    (".quit", "leave; Ctrl-D does too"),
)
HISTORY_LINES = 1000
COLUMNS = (
    "select table_name as name, column_name, data_type from duckdb_columns() "
    "where not internal order by name, column_index"
)


class Prompt:
    """What was typed so far, and how answers are shown; `take` is given one line at a time."""

    def __init__(self, ask: Ask, views: tuple[tuple[str, str], ...], mode: Mode = "table") -> None:
        self._ask, self._views = ask, views
        self._mode: Mode = mode
        self._at: int | None = None
        self._typed: list[str] = []
        self.over = False

    @property
    def sign(self) -> str:
        """What stands before the next line."""
        if self._typed:
            return "  ...> "
        return "esper> " if self._at is None else f"esper @{self._at}> "

    def take(self, line: str) -> None:
        """Do what *line* says, or keep it until its question is complete; an error is told, never raised."""
        stripped = line.strip()
        try:
            if stripped.startswith(".") and not self._typed:
                self._command(*stripped.split(maxsplit=1))
            elif stripped:
                self._typed.append(line)
                if stripped.endswith(";"):
                    self._answer()
            elif self._typed:
                self._answer()
        except EventStoreError as error:
            say(f"{error}")
            if more := hint(error):
                say(f"hint: {more}")
        except CommandFailed as error:
            say(str(error))

    def forget(self) -> None:
        """Drop the lines of a question that is not complete."""
        self._typed.clear()

    def _answer(self) -> None:
        sql = "\n".join(self._typed)
        self._typed.clear()
        self._show(sql)

    def _show(self, sql: str) -> None:
        show(self._ask(sql, self._at), self._mode)

    def _command(self, name: str, argument: str = "") -> None:
        match name, argument:
            case ".quit" | ".exit", _:
                self.over = True
            case ".help", _:
                print_table(("command", "what it does"), HELP)
            case ".views", _:
                print_table(("view", "answers"), self._views)
            case ".examples", _:
                for question, sql in EXAMPLES:
                    say(f"-- {question}\n{sql};\n")
            case ".schema", "":
                self._show(COLUMNS)
            case ".schema", view:
                quoted = view.rstrip(";").strip('"').replace('"', '""')
                self._show(f'select column_name, column_type from (describe "{quoted}")')  # noqa: S608 one quoted name
            case ".at", position:
                self._look_at(position)
            case ".mode", named:
                self._set_mode(named)
            case _:
                say(f"no command {name}: .help lists them")

    def _set_mode(self, named: str) -> None:
        for mode in MODES:
            if mode == named:
                self._mode = mode
                return
        say(f"the modes are {', '.join(MODES)}; this is {self._mode}")

    def _look_at(self, position: str) -> None:
        if position == "now":
            self._at = None
        elif position.isdecimal():
            self._at = int(position)
        else:
            say("a position is a number, as `esper events` shows it, or now")


def converse(prompt: Prompt, history: Path) -> None:
    """Talk with whoever sits at the terminal until they leave; what they typed is in *history* the next time."""
    _remember_in(history)
    say(GREETING)
    while not prompt.over:
        try:
            prompt.take(input(prompt.sign))
        except EOFError:
            say("")
            return
        except KeyboardInterrupt:
            prompt.forget()
            say("")


def _remember_in(history: Path) -> None:
    if not history.parent.is_dir():
        return
    history.touch(mode=0o600, exist_ok=True)
    readline.read_history_file(history)
    readline.set_history_length(HISTORY_LINES)
    atexit.register(readline.write_history_file, history)
