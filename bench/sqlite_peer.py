"""The same append and replay work through the Python `eventsourcing` library on SQLite, in a Python of its own."""

import subprocess
from pathlib import Path

import msgspec

from bench.measuring import Report, Speed

SCRIPT = Path(__file__).with_name("sqlite_peer_script.py")


class Found(msgspec.Struct, frozen=True):
    """What the script measured."""

    version: str
    appends: Speed
    replay: Speed


def add(report: Report, python: str, appends: int, commits: int) -> None:
    """Run the script with *python* and add what it found, and our speed over it, to *report*."""
    done = subprocess.run([python, SCRIPT, str(appends), str(commits)], capture_output=True, text=True, check=True)
    found = msgspec.json.decode(done.stdout, type=Found)
    name = f"eventsourcing {found.version} on SQLite"
    for ours, what, theirs in (
        ("append, one by one", f"{name}, save one event", found.appends),
        ("replay, every check", f"{name}, read all", found.replay),
    ):
        report.speeds[what] = theirs
        if ours in report.speeds:
            report.remarks[f"{ours} over {what}"] = f"{report.speeds[ours].per_s / theirs.per_s:.2f}"
