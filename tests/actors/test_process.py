"""A kept process is started again whenever it ends, and ended when it is no longer wanted."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from actors.clock import SystemClock
from actors.mortality import alive
from actors.process import KeptProcess, ProcessStatus
from actors.settings import RestartSettings, Settings, StackSettings

SETTINGS = Settings(stack=StackSettings(actor_stop_timeout_s=0.5), restart=RestartSettings(first_backoff_s=0.01))
READY = "import os, sys, time; os.write(int(sys.argv[2]), b'ready\\n'); "
PATIENCE_S = 20


class Kept:
    """A kept process, with everything that was said of it."""

    def __init__(self, code: str, log: Path, arguments: Sequence[str] = ()) -> None:
        self.heard: list[ProcessStatus] = []
        self._news = asyncio.Event()
        command = [sys.executable, "-S", "-c", code, *arguments]
        self.process = KeptProcess(
            "test", command, log=log, settings=SETTINGS, clock=SystemClock(), changed=self._changed
        )

    def _changed(self) -> None:
        self.heard.append(self.process.status)
        self._news.set()

    async def until(self, state: str, restarts: int = 0) -> ProcessStatus:
        async with asyncio.timeout(PATIENCE_S):
            while not (found := [said for said in self.heard if (said.state, said.restarts) == (state, restarts)]):
                self._news.clear()
                await self._news.wait()
        return found[-1]


@asynccontextmanager
async def kept(code: str, folder: Path) -> AsyncGenerator[Kept]:
    kept = Kept(code, folder / "log")
    keeping = asyncio.create_task(kept.process.keep())
    try:
        yield kept
    finally:
        keeping.cancel()
        await asyncio.wait([keeping])


async def test_a_process_that_was_killed_is_started_again(tmp_path: Path):
    async with kept(READY + "time.sleep(60)", tmp_path) as running:
        first = await running.until("ready")
        os.kill(first.pid, signal.SIGKILL)
        again = await running.until("ready", restarts=1)
        assert again.pid != first.pid
    assert running.process.status.state == "stopped"


async def test_a_process_that_returns_by_itself_is_started_again(tmp_path: Path):
    async with kept(READY, tmp_path) as running:
        await running.until("ready", restarts=2)


async def test_a_process_that_never_says_so_is_not_ready(tmp_path: Path):
    async with kept("raise SystemExit('no such module')", tmp_path) as running:
        await running.until("waiting", restarts=2)
    assert "ready" not in {said.state for said in running.heard}
    assert "no such module" in (tmp_path / "log").read_text()


async def test_a_process_that_ignores_sigterm_is_ended_by_force(tmp_path: Path):
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    async with kept(deaf + READY + "time.sleep(60)", tmp_path) as running:
        pid = (await running.until("ready")).pid
    assert not alive(pid)
