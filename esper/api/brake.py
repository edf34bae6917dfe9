"""The one thing about a run that any thread may change: whether anything may grow."""

from typing import NamedTuple

from actors.clock import Clock


class Pulled(NamedTuple):
    """Why and when growth was frozen."""

    reason: str
    raised_at_ns: int


class Brake:
    """Freezes growth at once, in this process, whether or not the log answers; its event follows.

    A single reference is replaced, so that no lock is held and a signal handler may pull it.
    """

    def __init__(self, clock: Clock, reason: str = "") -> None:
        self._clock = clock
        self.recorded = bool(reason)
        self.late = False
        self._pulled: Pulled | None = Pulled(reason, 0) if reason else None

    @property
    def pulled(self) -> Pulled | None:
        """Why growth is frozen; None while it is not."""
        return self._pulled

    def pull(self, reason: str) -> None:
        """Freeze growth. Pulled already, it stays as it is."""
        if self._pulled is None:
            self.recorded = self.late = False
            self._pulled = Pulled(reason or "asked for by hand", self._clock.now_ns())

    def release(self) -> None:
        """Let growth go on."""
        self._pulled = None
