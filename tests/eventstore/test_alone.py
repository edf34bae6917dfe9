"""The store is a library of its own: its example needs nothing of Esper and no torch."""

import os
import subprocess
import sys

from tests.architecture.source_tree import ROOT

REPORT = """
import runpy, sys
runpy.run_path({example!r}, run_name="__main__")
strangers = {{"torch", "esper", "actors", "ops", "numpy", "structlog", "stamina", "pyarrow"}}
print(sorted(strangers & {{name.partition(".")[0] for name in sys.modules}}))
"""


def test_the_bank_account_works_without_torch_and_esper():
    script = REPORT.format(example=str(ROOT / "examples" / "eventstore_alone.py"))
    ran = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines() == ["balance 5000 after 11 commits", "[]"]
