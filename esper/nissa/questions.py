"""The named questions: one SQL file each, whose first comment line says what it answers."""

from importlib.resources import files

import msgspec


class Question(msgspec.Struct, frozen=True):
    """A view: its name, the line that explains it, and its SQL."""

    name: str
    help: str
    sql: str


def questions(folder: str = "views") -> tuple[Question, ...]:
    """Return every view in *folder* of `esper/nissa`, by name."""
    found = sorted(files(f"esper.nissa.{folder}").iterdir(), key=lambda entry: entry.name)
    return tuple(
        _question(entry.name.removesuffix(".sql"), entry.read_text(encoding="utf-8"))
        for entry in found
        if entry.name.endswith(".sql")
    )


def _question(name: str, sql: str) -> Question:
    first, _, _ = sql.partition("\n")
    if not first.startswith("-- "):
        raise ValueError(f"{name}.sql must begin with a comment line that says what it answers")
    return Question(name, first.removeprefix("-- "), sql)
