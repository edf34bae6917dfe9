"""What tests of processes need: patience with a limit."""

import time
from collections.abc import Callable
from typing import TypeVar

import pytest

Found = TypeVar("Found")
Eventually = Callable[[Callable[[], Found | None]], Found]


@pytest.fixture
def eventually() -> Callable[[Callable[[], Found | None]], Found]:
    """Return a function that asks a question until the answer is truthy, for at most ten seconds."""

    def ask(question: Callable[[], Found | None], within_s: float = 10.0) -> Found:
        deadline = time.monotonic() + within_s
        while not (answer := question()):
            assert time.monotonic() < deadline, f"not so within {within_s} s"
            time.sleep(0.01)
        return answer

    return ask
