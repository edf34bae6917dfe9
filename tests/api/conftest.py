"""A log that fails by script, for the tests of sessions."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from actors.loop import BackgroundLoop
from tests.api.scripted_log import ScriptedLog


@pytest.fixture(scope="session")
def loop() -> Iterator[BackgroundLoop]:
    with BackgroundLoop("test-log") as loop:
        yield loop


@pytest.fixture
def log(tmp_path: Path, loop: BackgroundLoop) -> Iterator[ScriptedLog]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield ScriptedLog(tmp_path / "esper", loop)
    torch.set_num_threads(threads)
