"""The peer gromo, in a Python of its own."""

import subprocess
import tempfile
from pathlib import Path

import msgspec
import numpy as np

from bench.growing.arms import Outcome, Trial
from bench.growing.data import Data
from bench.growing.tasks import Task

SCRIPT = Path(__file__).with_name("gromo_script.py")
ARMS = ("gromo TINY", "gromo GradMax")
UNITS = 24


def runs(python: str) -> bool:
    """Tell whether *python* has gromo."""
    if not python:
        return False
    return subprocess.run([python, "-c", "import gromo"], capture_output=True).returncode == 0


def run(python: str, task: Task, data: Data, trial: Trial) -> Outcome:
    """Train once and score, in another process."""
    with tempfile.TemporaryDirectory() as folder:
        arrays = Path(folder, "data.npz")
        parts = {f"{name}_{kind}": array.numpy() for name, part in data._asdict().items()
                 for kind, array in part._asdict().items()}  # fmt: skip
        np.savez(arrays, **parts)
        given = msgspec.to_builtins(trial) | {
            "data": str(arrays),
            "batch": task.batch,
            "classes": task.classes,
            "start": task.start,
            "units": UNITS,
        }
        asked = Path(folder, "given.json")
        asked.write_bytes(msgspec.json.encode(given))
        told = subprocess.run([python, str(SCRIPT), str(asked)], capture_output=True, text=True)
    if told.returncode:
        raise RuntimeError(f"{trial.arm} failed: {told.stderr[-2_000:]}")
    return msgspec.json.decode(told.stdout.splitlines()[-1], type=Outcome)
