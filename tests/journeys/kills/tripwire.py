"""Kills the process that it lies in: at a chosen line of the program, or at a moment between two steps.

A line is counted when it is about to be executed, in the training thread or in the loop's, and only in functions of the
zone that was asked for: the writing of a checkpoint, of a commit, what a rollback brings back, what a resume does.
"""

import itertools
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from types import CodeType, FrameType
from typing import Any, NamedTuple

STEP, CHECKPOINT, COMMIT, RESTORE, RESUME = "step", "checkpoint", "commit", "restore", "resume"

# Which functions of which file belong to a zone; None: all of them.
ZONES: Mapping[str, Mapping[str, frozenset[str] | None]] = {
    CHECKPOINT: {
        "esper/api/checkpoints.py": frozenset({"save", "take"}),
        "esper/tolaria/checkpoint.py": frozenset({"capture", "write"}),
        "eventstore/blobs.py": frozenset({"put", "put_chunks", "_draft", "_sync_folder", "_holds"}),
        "actors/trainer.py": frozenset({"commit_checkpoint"}),
    },
    COMMIT: {
        "actors/dispatch.py": frozenset({"dispatch", "_decide_once"}),
        "eventstore/oona/store.py": frozenset({"append", "_write"}),
        "eventstore/oona/publishing.py": None,
        "eventstore/oona/grouping.py": None,
        "nats/aio/client.py": frozenset({"_send_publish", "_process_msg"}),
        "actors/outbox.py": frozenset({"put", "acknowledge", "_append"}),
        "esper/api/fences.py": frozenset({"_asked", "_show", "_at_epoch"}),
    },
    RESTORE: {
        "esper/api/rollbacks.py": frozenset({"decide", "apply", "_fold", "_bring_back", "_report"}),
        "esper/tolaria/snapshot.py": frozenset({"put_back", "_put_back_groups", "_collect", "_copy_all"}),
        "actors/timeline.py": frozenset({"decide", "carry_out", "_told", "shown", "complete"}),
        "esper/kasmina/slot.py": frozenset({"uproot", "reload", "load_state"}),
    },
    RESUME: {
        "esper/api/attach.py": frozenset({"_go_on", "_handed_over"}),
        "esper/api/checkpoints.py": frozenset({"restore"}),
        "esper/api/regrowing.py": None,
        "esper/tolaria/checkpoint.py": frozenset({"read", "restore", "restore_model"}),
        "actors/trainer.py": frozenset({"resume"}),
    },
}


class Death(NamedTuple):
    """When a process is to die: in *zone*, at the *count*-th of its lines from optimizer step *after* on.

    In zone "step", `count` is in microseconds, from the middle of that step on.
    """

    zone: str
    after: int
    count: int


class Tripwire:
    """Counts lines per zone, step by step, and kills the process at the one of its *death*, if it is to die."""

    def __init__(self, death: Death | None) -> None:
        self.counted: dict[int, Counter[str]] = {}
        self._death = death
        self._now = self.counted[-1] = Counter[str]()
        self._line = itertools.count(1)
        self._armed = death is not None and death.zone == RESUME
        self._known: dict[CodeType, Callable[..., Any] | None] = {}

    def lay(self) -> None:
        """Watch this thread and those that are started from here on."""
        threading.settrace(self._enter)
        sys.settrace(self._enter)

    def before_step(self, steps_done: int) -> None:
        """Note that another optimizer step is under way."""
        self._now = self.counted[steps_done] = Counter[str]()
        if self._death is None or steps_done < self._death.after or self._armed:
            return
        self._armed = True
        if self._death.zone == STEP:
            threading.Timer(self._death.count / 1e6, die).start()

    def _enter(self, frame: FrameType, event: str, _: Any) -> Any:
        code = frame.f_code
        if code not in self._known:
            zone = zone_of(code)
            self._known[code] = None if zone is None else self._watching(zone)
        return self._known[code]

    def _watching(self, zone: str) -> Callable[..., Any]:
        mine = self._death is not None and self._death.zone == zone
        last = self._death.count if self._death is not None else 0

        def line(frame: FrameType, event: str, _: Any) -> Any:
            if event == "line":
                self._now[zone] += 1
                if mine and self._armed and next(self._line) >= last:
                    die()
            return line

        return line


def zone_of(code: CodeType) -> str | None:
    """Return the zone that a function belongs to."""
    for zone, files in ZONES.items():
        for file, names in files.items():
            if code.co_filename.endswith(file) and (names is None or code.co_name in names):
                return zone
    return None


def die() -> None:
    """End this process as a power cut would."""
    os.kill(os.getpid(), signal.SIGKILL)
