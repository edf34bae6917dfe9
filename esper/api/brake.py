"""The one thing about a run that any thread may change: whether anything may grow."""

from collections import deque
from collections.abc import Iterable

import msgspec

from actors.clock import Clock
from esper.leyline.v1.run_pb2 import GrowthFrozen, GrowthThawed
from eventstore.store import Recorded


class Pulled(msgspec.Struct, frozen=True):
    """Why and when growth was frozen; `position` is where the log says so, None while it does not."""

    reason: str
    raised_at_ns: int
    position: int | None = None


class Word(msgspec.Struct, frozen=True):
    """What somebody else recorded about this run: that its growth is frozen (a reason), or may go on (None)."""

    position: int
    reason: str | None
    raised_at_ns: int = 0


class Brake:
    """Freezes growth at once, in this process, whether or not the log answers; its event follows.

    `pull` and `hear` may be called from any thread, and from a signal handler: a single reference is replaced, or
    appended, so that no lock is held. All else belongs to the training thread, which also weighs what was heard.
    """

    def __init__(self, clock: Clock, pulled: Pulled | None = None) -> None:
        self._clock = clock
        self.late = False
        self._pulled = pulled
        self._heard: deque[Word] = deque()
        # Where the log last said something about it: an echo from before that is old news.
        self._known = 0

    @property
    def pulled(self) -> Pulled | None:
        """Why growth is frozen; None while it is not."""
        while self._heard:
            self._weigh(self._heard.popleft())
        return self._pulled

    @property
    def recorded(self) -> bool:
        """Whether the log says that growth is frozen."""
        pulled = self.pulled
        return pulled is not None and pulled.position is not None

    def pull(self, reason: str) -> None:
        """Freeze growth. Pulled already, it stays as it is."""
        if self._pulled is None:
            self._pulled = Pulled(reason or "asked for by hand", self._clock.now_ns())

    def hear(self, word: Word) -> None:
        """Take note of what somebody else recorded."""
        self._heard.append(word)

    def record(self, pulled: Pulled, position: int) -> None:
        """Note that *pulled* is on record at *position*."""
        if self._pulled is pulled:
            self._pulled = msgspec.structs.replace(pulled, position=position)
        self._known, self.late = max(self._known, position), False

    def release(self, position: int) -> None:
        """Let growth go on, as the log says at *position*; not if it was frozen again since."""
        self._known, self.late = max(self._known, position), False
        if self._pulled is not None and (self._pulled.position or 0) <= position:
            self._pulled = None

    def _weigh(self, word: Word) -> None:
        if word.position <= self._known:
            return
        self._known, self.late = word.position, False
        if word.reason is None:
            # What this process has not told the log yet, nobody who read the log can have lifted.
            if self._pulled is not None and self._pulled.position is not None:
                self._pulled = None
        elif self._pulled is None or self._pulled.position is None:
            self._pulled = Pulled(word.reason, word.raised_at_ns, word.position)


def pulled_in(events: Iterable[Recorded]) -> Pulled | None:
    """Return the freeze with which a run's *events* end; None if its growth may go on."""
    found: Pulled | None = None
    for recorded in events:
        match recorded.event:
            case GrowthFrozen(reason=reason, raised_at_ns=raised_at_ns):
                found = Pulled(reason, raised_at_ns, recorded.position)
            case GrowthThawed():
                found = None
            case _:
                pass
    return found
