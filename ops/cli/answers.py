"""Answers as text: a table for people, CSV, JSON and Markdown for what comes after."""

import csv
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Literal, get_args

import msgspec

from eventstore.projection.query import Answer
from ops.cli.output import print_json, print_table

Mode = Literal["table", "csv", "json", "markdown"]
MODES: tuple[Mode, ...] = get_args(Mode)


def show(found: Answer, mode: Mode) -> None:
    """Write the rows of *found* to stdout."""
    match mode:
        case "table":
            print_table(found.columns, [[_short(value) for value in row] for row in found.rows])
        case "csv":
            writer = csv.writer(sys.stdout, lineterminator="\n")
            writer.writerow(found.columns)
            writer.writerows([_text(value) for value in row] for row in found.rows)
        case "json":
            names = _distinct(found.columns)
            print_json(dict(zip(names, row, strict=True)) for row in found.rows)
        case "markdown":
            _print_markdown(found)


def _print_markdown(found: Answer) -> None:
    lines = [found.columns, ["---"] * len(found.columns)]
    lines += [[_short(value) for value in row] for row in found.rows]
    for cells in lines:
        escaped = (cell.replace("\\", "\\\\").replace("|", "\\|").replace("\n", "<br>") for cell in cells)
        sys.stdout.write(f"| {' | '.join(escaped)} |\n")


def _short(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else _text(value)


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case list() | dict():
            return msgspec.json.encode(value).decode()
        case _:
            return str(value)


def _distinct(columns: Sequence[str]) -> list[str]:
    """Number the columns that share a name, as JSON keeps only one of each: n, n_1."""
    seen: Counter[str] = Counter()
    names: list[str] = []
    for column in columns:
        names.append(f"{column}_{seen[column]}" if seen[column] else column)
        seen[column] += 1
    return names
