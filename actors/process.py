"""One process that is kept running: started, watched, started again."""

import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from actors.backoff import Backoff
from actors.clock import Clock
from actors.logs import logger
from actors.settings import Settings

READY_LINE = b"ready\n"


class ProcessStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How one process of the stack is doing; `state` is starting, ready, waiting (to be restarted) or stopped."""

    name: str
    state: str
    pid: int = 0
    restarts: int = 0


class KeptProcess:
    """Runs a command for as long as `keep` is awaited, and says on every change how it is doing.

    The command is given `--ready-fd N` and writes a line to that descriptor when it can be asked something. That it
    answers then is not promised: it may die at any time, and is started again.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        settings: Settings,
        clock: Clock,
        changed: Callable[[], None],
    ) -> None:
        self._command, self._log, self._settings, self._clock, self._changed = command, log, settings, clock, changed
        self._process: asyncio.subprocess.Process | None = None
        self._seen_ready = asyncio.Event()
        self.status = ProcessStatus(name=name, state="stopped")

    async def ready(self) -> None:
        """Return when the process has been ready for the first time."""
        await self._seen_ready.wait()

    async def keep(self) -> None:
        """Keep the process running until cancelled, then end it: gently, and after a while by force."""
        backoff = Backoff(self._settings.restart)
        try:
            while True:
                started_s = self._clock.monotonic_s()
                code = await self._run()
                backoff = backoff.after(self._clock.monotonic_s() - started_s)
                logger("weatherlight").warning(
                    "a process ended", name=self.status.name, code=code, restart_in_s=backoff.wait_s
                )
                self._now("waiting", restarts=self.status.restarts + 1)
                await asyncio.sleep(backoff.wait_s)
        finally:
            await self._end()
            self._now("stopped")

    def _now(self, state: str, *, pid: int = 0, restarts: int | None = None) -> None:
        restarts = self.status.restarts if restarts is None else restarts
        self.status = ProcessStatus(name=self.status.name, state=state, pid=pid, restarts=restarts)
        self._changed()

    async def _run(self) -> int:
        """Start the process and return its exit code when it has ended."""
        readable, writable = os.pipe()
        with self._log.open("ab") as log:
            try:
                process = self._process = await asyncio.create_subprocess_exec(
                    *self._command,
                    *("--ready-fd", str(writable)),
                    pass_fds=(writable,),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            finally:
                os.close(writable)
        self._now("starting", pid=process.pid)
        if await _first_line(readable) == READY_LINE:
            self._now("ready", pid=process.pid)
            self._seen_ready.set()
        return await process.wait()

    async def _end(self) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            async with asyncio.timeout(self._settings.stack.actor_stop_timeout_s):
                await process.wait()
        except TimeoutError:
            logger("weatherlight").warning("a process did not end when told to", name=self.status.name)
            process.kill()
            await process.wait()


async def _first_line(readable: int) -> bytes:
    """Return the first line written into the pipe, or b"" if its writer ended without one."""
    reader = asyncio.StreamReader()
    pipe = os.fdopen(readable, "rb")
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), pipe
    )
    try:
        return await reader.readline()
    finally:
        transport.close()


def module_command(module: str, *arguments: str) -> list[str]:
    """Return the command that runs *module* in a Python like this one."""
    return [sys.executable, "-m", module, *arguments]
