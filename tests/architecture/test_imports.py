"""What importing costs: nothing is loaded before it is used."""

import json
import subprocess
import sys

import pytest

NEVER_IMPORTED = {"textual", "starlette", "uvicorn", "plotly", "matplotlib", "transformers", "lightning", "sklearn"}
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
