"""Messages become bytes in few places and in one way, and no released message can be made unreadable."""

import ast
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.source_tree import PACKAGES, ROOT, sources, tree, where

BUF = Path(sys.executable).with_name("buf")
# Where protobuf bytes are made or read; everybody else goes through these.
WRITERS = {
    "esper/leyline/canonical.py",
    "eventstore/admission.py",
    "eventstore/archive.py",
    "eventstore/commands.py",
    "eventstore/commit.py",
    "eventstore/framing.py",
    "eventstore/states.py",
    "eventstore/telemetry.py",
}
PACKERS = {"SerializeToString", "SerializePartialToString", "SerializeAsString"}


def calls(path: Path) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree(path)) if isinstance(node, ast.Call))


def packing(path: Path) -> list[ast.Call]:
    return [call for call in calls(path) if isinstance(call.func, ast.Attribute) and call.func.attr in PACKERS]


def test_messages_become_bytes_in_these_files_only():
    assert {str(path.relative_to(ROOT)) for path in sources(*PACKAGES) if packing(path)} == WRITERS


def test_bytes_never_depend_on_the_order_in_which_a_map_was_filled():
    careless = [
        f"{path.relative_to(ROOT)}:{call.lineno}"
        for path in sources(*PACKAGES)
        for call in packing(path)
        if not any(key.arg == "deterministic" and ast.unparse(key.value) == "True" for key in call.keywords)
    ]
    assert careless == []


def imported(path: Path) -> Iterator[tuple[str, ast.stmt]]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((name.name, node) for name in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module or "", node


def importing(package: str) -> list[str]:
    return [
        where(path, node)
        for path in sources(*PACKAGES)
        for name, node in imported(path)
        if name.partition(".")[0] == package
    ]


def test_only_oona_speaks_to_the_server():
    assert [place for place in importing("nats") if not place.startswith("eventstore/oona/")] == []


def test_nobody_makes_enums_under_any_name():
    assert importing("enum") == []


def without(lines: list[str], field: str) -> list[str]:
    """Return *lines* without *field*, and without reserving its number."""
    kept = [line for line in lines if f" {field} = " not in line]
    assert len(kept) < len(lines)
    return kept


def renumbered(lines: list[str], field: str) -> list[str]:
    return [line.replace(f" {field} = ", f" {field} = 9") for line in lines]


def retyped(lines: list[str], field: str) -> list[str]:
    return [line.replace("bool ", "string ") if f" {field} = " in line else line for line in lines]


def extended(lines: list[str], field: str) -> list[str]:
    at = next(number for number, line in enumerate(lines) if f" {field} = " in line)
    return [*lines[: at + 1], "  string something_new = 99;", *lines[at + 1 :]]


@pytest.mark.parametrize(
    ("change", "allowed"), [(without, False), (renumbered, False), (retyped, False), (extended, True)]
)
def test_a_change_that_would_make_history_unreadable_is_refused(tmp_path: Path, change, allowed: bool):
    for name in ("buf.yaml", "proto"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    proto = tmp_path / "proto" / "esper" / "leyline" / "v1" / "seed.proto"
    lines = proto.read_text().splitlines()
    proto.write_text("\n".join(change(lines, "passed")) + "\n")
    ran = subprocess.run(
        [BUF, "breaking", str(tmp_path), "--against", str(ROOT)], capture_output=True, text=True, timeout=60
    )
    assert (ran.returncode == 0) == allowed, ran.stdout + ran.stderr
