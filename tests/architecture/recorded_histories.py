"""Recorded histories of released schemas, and what they came to when they were added.

`python -m tests.architecture.recorded_histories` writes `folded.json` beside histories that have none yet.
"""

import json
from collections import Counter
from pathlib import Path

from actors.epoch import ACTOR
from esper.kasmina.rules.seed import SEED
from esper.leyline.registry import EVENTS
from esper.nissa.projections import PROJECTIONS
from esper.tamiyo.rules.heuristic import POLICY
from esper.tamiyo.rules.reports import REPORTS
from esper.tezzeret.rules.job import JOB
from esper.tolaria.rules.run import RUN
from esper.urza.rules.blueprint import BLUEPRINT
from esper.urza.rules.kernel import KERNEL
from eventstore.archive import Archive, Examined
from eventstore.replay import differences, fold
from eventstore.signing import Keys
from eventstore.store import Stored
from tests.architecture.source_tree import ROOT

HISTORIES = ROOT / "tests" / "architecture" / "histories"
KEYS = Keys("esper histories are signed with a published key")
DECIDERS = {
    "run": RUN,
    "seed": SEED,
    "policy": POLICY,
    "report": REPORTS,
    "kernel": KERNEL,
    "job": JOB,
    "blueprint": BLUEPRINT,
    "actor": ACTOR,
}


def histories() -> list[Path]:
    """Return every recorded history, the oldest schema first."""
    return sorted(HISTORIES.glob("*/*.esper"))


def read(path: Path) -> tuple[Examined, list[Stored]]:
    """Return what examining the history came to, and its commits."""
    commits: list[Stored] = []
    return Archive(path).examine(KEYS, EVENTS, commits.append), commits


def folded(commits: list[Stored]) -> dict[str, object]:
    """Return how each stream's state differs from the initial one, and how many rows each table has, as plain JSON.

    A field that a later version adds to a state does not show while it has its default.
    """
    events = [recorded for stored in commits for recorded in stored.events]
    states: dict[str, object] = {}
    for stream in sorted({recorded.stream for recorded in events}):
        decider = DECIDERS[stream.aggregate]
        own = [recorded for recorded in events if recorded.stream == stream]
        state = fold(own, decider.initial, decider.evolve).state
        states[str(stream)] = {one.path: plain(one.after) for one in differences(decider.initial, state)}
    rows = Counter(table for one in PROJECTIONS for recorded in events for table, _ in one.rows(recorded))
    return {"states": states, "rows": dict(sorted(rows.items()))}


def plain(value: object) -> object:
    """Return *value* as JSON has it."""
    if isinstance(value, frozenset):
        return sorted(str(member) for member in value)
    return value.hex() if isinstance(value, bytes) else value


def beside(path: Path) -> Path:
    """Return where the outcome of a history is kept."""
    return path.with_suffix(".folded.json")


if __name__ == "__main__":
    for history in histories():
        if not beside(history).exists():
            beside(history).write_text(json.dumps(folded(read(history)[1]), indent=1, sort_keys=True) + "\n")
