"""Runs in a Python that has `eventsourcing`: saves events one by one, reads a log of many, prints JSON."""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event

WORD = "x" * 100


class Speaker(Aggregate):
    """Says words."""

    @event("Spoke")
    def speak(self, word: str) -> None:
        """Say *word*."""
        self.word = word


def measured(work: Callable[[], int]) -> dict[str, float]:
    """Run *work*, which returns how many pieces it did."""
    cpu, wall = time.process_time(), time.perf_counter()
    many = work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"per_s": many / wall, "cpu_us": cpu / many * 1e6}


def main(appends: int, commits: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        application = Application(
            env={"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": str(Path(folder) / "log.db")}
        )
        speaker = Speaker()
        application.save(speaker)

        def save_one_by_one() -> int:
            for _ in range(appends):
                speaker.speak(WORD)
                application.save(speaker)
            return appends

        def read_all() -> int:
            return sum(1 for start in range(1, commits, 1000) for _ in events_from(start))

        def events_from(start: int) -> list[object]:
            notifications = application.recorder.select_notifications(start=start, limit=1000)
            return [application.mapper.to_domain_event(notification) for notification in notifications]

        saved = measured(save_one_by_one)
        for _ in range(commits // 500):
            for _ in range(500):
                speaker.speak(WORD)
            application.save(speaker)
        found = {"version": version("eventsourcing"), "appends": saved, "replay": measured(read_all)}
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
