"""The project's Python sources, read as text and as syntax trees."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("esper", "actors", "eventstore", "ops")
FOLDERS = (*PACKAGES, "tests", "examples", "bench")


@cache
def sources(*folders: str) -> tuple[Path, ...]:
    """Return every hand-written Python file under *folders*, sorted."""
    found = (path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return tuple(sorted(path for path in found if not path.stem.endswith("_pb2")))


@cache
def tree(path: Path) -> ast.Module:
    """Return the syntax tree of *path*."""
    return ast.parse(path.read_text(), str(path))


def module_name(path: Path) -> str:
    """Return the dotted name under which *path* is imported."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def where(path: Path, node: ast.stmt | ast.ExceptHandler) -> str:
    """Return file and line of *node*, as an editor takes them."""
    return f"{path.relative_to(ROOT)}:{node.lineno}"


def classes(path: Path) -> Iterator[ast.ClassDef]:
    """Yield every class in *path*, nested ones too."""
    return (node for node in ast.walk(tree(path)) if isinstance(node, ast.ClassDef))
