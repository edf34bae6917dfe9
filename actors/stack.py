"""The local stack from outside: join it, start it, stop it."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType

from actors import tenants
from actors.mortality import alive
from actors.place import Place
from actors.process import module_command
from actors.settings import DEFAULTS, StackSettings
from actors.stackfile import StackFile, running_stack, stack_holder

_POLL_S = 0.02


class StackNotReady(Exception):
    """The local stack did not come up; carries the last words of each of its processes."""

    def __init__(self, place: Place, why: str) -> None:
        self.last_words = {log.stem: _last_line(log) for log in sorted(place.logs.glob("*.log"))}
        words = "".join(f"\n  {name}: {line}" for name, line in self.last_words.items())
        super().__init__(f"the local stack {why}; see {place.logs}. The last words there:{words}")


class StackStuck(Exception):
    """The local stack was told to stop and has not."""

    def __init__(self, pid: int, waited_s: float) -> None:
        self.pid, self.waited_s = pid, waited_s
        super().__init__(f"process {pid} still runs {waited_s:.0f} s after it was told to stop")


class StackHandle:
    """A stack that this process uses; an embedded one ends when the last of its users has closed it or ended."""

    def __init__(self, place: Place, found: StackFile, note: Path, settings: StackSettings) -> None:
        self._place, self._note, self._settings = place, note, settings
        self.url, self.monitor_url, self.embedded = found.url, found.monitor_url, found.embedded

    def close(self) -> None:
        """Use the stack no longer; if that ends it, return when it has ended. Closing twice is harmless."""
        if not self._note.exists():
            return
        tenants.leave(self._note)
        found = running_stack(self._place)
        if found is None or not found.embedded or tenants.living(self._place):
            return
        _tell(found.pid, signal.SIGUSR1)
        _until(lambda: _ended(self._place, found.pid) or bool(tenants.living(self._place)), self._settings, found.pid)

    def __enter__(self) -> "StackHandle":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def ensure_stack(place: Place, settings: StackSettings = DEFAULTS) -> StackHandle:
    """Join the stack that runs at *place*, or start one that ends with this process. Blocks until it is ready.

    Raises:
        StackNotReady: it did not come up in time; nothing of it is left running.
    """
    note = tenants.enter(place, os.getpid())
    try:
        found = _running(place, settings, "--embedded")
    except BaseException:
        tenants.leave(note)
        raise
    return StackHandle(place, found, note, settings)


def up(place: Place, settings: StackSettings = DEFAULTS) -> StackFile:
    """Start the stack in the background, to stay until `down`; return when it is ready. Twice is harmless.

    Raises:
        StackNotReady: it did not come up in time; nothing of it is left running.
    """
    while True:
        found = _running(place, settings)
        if not found.embedded:
            return found
        _tell(found.pid, signal.SIGUSR2)
        _until(partial(_stays_or_ended, place, found.pid), settings, found.pid)


def down(place: Place, settings: StackSettings = DEFAULTS) -> bool:
    """Stop the stack of *place* and return whether there was one; its data stays.

    Raises:
        StackStuck: it did not end in time.
    """
    holder = stack_holder(place)
    if holder is None:
        return False
    _tell(holder, signal.SIGTERM)
    _until(lambda: _ended(place, holder), settings, holder)
    return True


def _running(place: Place, settings: StackSettings, *arguments: str) -> StackFile:
    """Return the stack of *place*, started if there is none."""
    deadline = time.monotonic() + settings.start_timeout_s
    launched: subprocess.Popen[bytes] | None = None
    while True:
        if found := running_stack(place):
            return found
        if stack_holder(place) is None:
            if launched is None:
                launched = _launch(place, *arguments)
            elif launched.poll() is not None:
                raise StackNotReady(place, f"ended at once with code {launched.returncode}")
        if time.monotonic() >= deadline:
            if launched is not None:
                launched.terminate()
                launched.wait(settings.stop_timeout_s)
            raise StackNotReady(place, f"was not ready after {settings.start_timeout_s:g} s")
        time.sleep(_POLL_S)


def _launch(place: Place, *arguments: str) -> subprocess.Popen[bytes]:
    command = module_command("actors.weatherlight", "--folder", str(place.folder), *arguments)
    with (place.logs / "weatherlight.log").open("ab") as log:
        # A session of its own: ctrl-C in the training's terminal is the training's affair.
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)


def _stays_or_ended(place: Place, pid: int) -> bool:
    found = running_stack(place)
    return (found is not None and not found.embedded) or _ended(place, pid)


def _ended(place: Place, pid: int) -> bool:
    return stack_holder(place) != pid and not alive(pid)


def _until(condition: Callable[[], bool], settings: StackSettings, pid: int) -> None:
    deadline = time.monotonic() + settings.stop_timeout_s
    while not condition():
        if time.monotonic() >= deadline:
            raise StackStuck(pid, settings.stop_timeout_s)
        time.sleep(_POLL_S)


def _tell(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return lines[-1] if lines else ""
