"""Data on stdout, as a table for people or one JSON object per line for programs; talk on stderr."""

import sys
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message


def print_json(rows: Iterable[object]) -> None:
    """Write each of *rows* to stdout as one line of JSON; structs and protobuf messages keep their field names."""
    for row in rows:
        sys.stdout.write(msgspec.json.encode(row, enc_hook=plain).decode() + "\n")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write *rows* under *columns* to stdout: wrapped to a terminal's width, else one line per row."""
    if sys.stdout.isatty():
        _print_wrapped(columns, rows)
        return
    table = [list(columns), *(list(row) for row in rows)]
    widths = [max(len(row[index]) for row in table) for index in range(len(columns))]
    for row in table:
        cells = (cell.replace("\n", " ").ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write("  ".join(cells).rstrip() + "\n")


def print_line(line: str = "", style: str = "") -> None:
    """Write one line to stdout, in *style* (rich's words) if stdout is a terminal."""
    if sys.stdout.isatty() and style:
        from rich.console import Console
        from rich.text import Text

        Console().print(Text(line, style=style))
    else:
        sys.stdout.write(line + "\n")


def say(line: str) -> None:
    """Write one line of talk to stderr."""
    sys.stderr.write(line + "\n")


def _print_wrapped(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=index < len(columns) - 2)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)


def plain(value: object) -> Any:
    """Return a protobuf message as what JSON can hold."""
    if isinstance(value, Message):
        return MessageToDict(value, preserving_proto_field_name=True)
    raise NotImplementedError(f"{type(value).__name__} has no place in JSON")
