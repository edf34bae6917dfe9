"""How long a seed takes, beside the host's own step."""

import statistics
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager
from time import thread_time

STEPS = 8
MILLISECONDS = 1e3


class Pace:
    """Seconds of work of the thread that trains. Waiting does not count; of a CUDA device only what it takes to ask."""

    def __init__(self) -> None:
        self._forward = self._step = 0.0
        self._seeds: deque[float] = deque(maxlen=STEPS)
        self._hosts: deque[float] = deque(maxlen=STEPS)
        self._running = False

    @property
    def forward_seconds(self) -> float:
        """Time in the seed's forward passes inside the host's, since the last step."""
        return self._forward

    @contextmanager
    def forward(self) -> Generator[None]:
        """Time one pass inside the host's; inside a step of the seed's own it is part of that."""
        began = thread_time()
        try:
            yield
        finally:
            if not self._running:
                self._forward += thread_time() - began

    @contextmanager
    def step(self) -> Generator[None]:
        """Time one step of the seed's own."""
        began, self._running = thread_time(), True
        try:
            yield
        finally:
            self._running = False
            self._step += thread_time() - began

    def stepped(self, host_seconds: float | None) -> None:
        """Take note of one optimizer step; None: the host's time is not known, and the step is passed over."""
        if host_seconds is not None:
            self._seeds.append(self._forward + self._step)
            self._hosts.append(host_seconds)
        self._forward = self._step = 0.0

    def slow(self, ratio: float, allowance_s: float) -> str:
        """Say so if the seed takes more than *ratio* times the host's time and more than *allowance_s*; else empty.

        By medians over the last eight steps, none before there are as many.
        """
        if len(self._seeds) < STEPS:
            return ""
        seed, host = statistics.median(self._seeds), statistics.median(self._hosts)
        if seed <= max(ratio * host, allowance_s):
            return ""
        return f"takes {seed * MILLISECONDS:.3g} ms a step, the host {host * MILLISECONDS:.3g} ms"
