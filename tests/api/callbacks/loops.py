"""What the tests of callbacks share: a log that outlives a training, and being killed in the middle of one."""

from typing import Any

import pytest

from esper.api import attach as attaching
from esper.api.logs import OpenLog
from tests.api.scripted_log import FAST, Killed, ScriptedLog

__all__ = ["Dies", "Killed", "lives_in", "terms"]


def lives_in(log: ScriptedLog, monkeypatch: pytest.MonkeyPatch, *modules: Any) -> None:
    """Let whoever opens a log open *log*: as a server would, it stays when the training is dead."""
    for module in (attaching, *modules):
        monkeypatch.setattr(module, "open_named", lambda name, place: OpenLog(log, log.loop, lambda: None))


def terms(log: ScriptedLog, **more: Any) -> dict[str, Any]:
    """Return what callbacks of a test hand on to `attach`."""
    return {"folder": log.place.folder, "settings": FAST, "say": lambda line: None, **more}


class Dies:
    """Kills the training at an optimizer step."""

    def __init__(self, at: int | None) -> None:
        self._at, self._steps = at, 0

    def step(self) -> None:
        """Count one."""
        self._steps += 1
        if self._steps == self._at:
            raise Killed
