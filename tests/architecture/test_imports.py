"""What importing costs: nothing is loaded before it is used."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

NEVER_IMPORTED = {"textual", "starlette", "uvicorn", "plotly", "matplotlib", "transformers", "accelerate", "sklearn"}
NEVER_IMPORTED |= {"lightning", "pytorch_lightning"}
# What `eventstore` may be installed with: nats-py, protobuf, msgspec and duckdb. The last only for projections.
STANDS_ON = {"nats", "google", "msgspec", "duckdb"}
STORE = Path(__file__).parents[2] / "eventstore"
PROGRAM = "import json, sys; import {module}; print(json.dumps(sorted(sys.modules)))"


def modules_after(module):
    """Return the names of all modules that a fresh interpreter holds after importing *module*."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(module=module)], capture_output=True, text=True, check=True, timeout=60
    )
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("module", ["esper", "ops.cli.main"])
def test_importing_loads_neither_torch_nor_an_extra(module):
    assert modules_after(module) & (NEVER_IMPORTED | {"torch", "duckdb", "pyarrow"}) == set()


def third_parties(file: Path) -> Iterator[str]:
    """Yield the packages that *file* imports, wherever in it, and that come neither from here nor with Python."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        yield from {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"eventstore"}


def test_the_event_store_stands_on_four_packages_and_only_projections_need_the_fourth():
    found = {file: set(third_parties(file)) for file in STORE.rglob("*.py")}
    assert set().union(*found.values()) == STANDS_ON
    with_tables = {file.parent.name for file, packages in found.items() if "duckdb" in packages}
    assert with_tables == {"projection"}


def test_the_log_itself_loads_no_database():
    assert modules_after("eventstore.oona") & {"duckdb", "pyarrow", "structlog", "stamina"} == set()
