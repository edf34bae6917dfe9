"""A log that fails by script, for the tests of sessions."""

import asyncio
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
    loop.call(_end_of_killed_processes())


async def _end_of_killed_processes() -> None:
    """A run that a test dropped leaves its tasks behind; a process that is killed does not."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
