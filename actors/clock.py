"""Time, asked for by name so that a test can hold it still."""

import time
from typing import Protocol


class Clock(Protocol):
    """What the time is. Nothing is promised between the two: wall time may jump, monotonic time never goes back."""

    def now_ns(self) -> int:
        """Return nanoseconds since 1970, for records."""
        ...

    def monotonic_s(self) -> float:
        """Return seconds from an arbitrary origin, for durations and deadlines."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now_ns(self) -> int:
        return time.time_ns()

    def monotonic_s(self) -> float:
        return time.monotonic()


class VirtualClock:
    """A clock that moves only when told to."""

    def __init__(self, now_ns: int = 1_700_000_000_000_000_000) -> None:
        self._start_ns = self._now_ns = now_ns

    def now_ns(self) -> int:
        return self._now_ns

    def monotonic_s(self) -> float:
        return (self._now_ns - self._start_ns) / 1e9

    def advance(self, seconds: float) -> None:
        """Let *seconds* pass."""
        if seconds < 0:
            raise ValueError(f"time does not go back by {-seconds} s")
        self._now_ns += round(seconds * 1e9)
