"""The compiler process as the forge sees it: kept warm, given one kernel at a time, killed when it takes too long."""

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import msgspec

from esper.tezzeret.outcome import (
    OUTPUT_FILE,
    Ended,
    Forge,
    Forged,
    Kill,
    NotForged,
    Order,
    Outcome,
    Ready,
    Started,
    Word,
    read_outcome,
)

_BOOT_LIMIT_S = 180.0
_FAREWELL_S = 5.0
_GLANCE_S = 0.2
_DETAIL_BYTES = 1000


class CompilerGone(Exception):
    """The compiler process ended, or did not get ready."""


class Compiler:
    """Loads torch once, in a process of its own, and forks from there: a kernel need not wait for imports.

    An async context manager; whatever is being forged when it is left is killed.
    """

    def __init__(self, *, cache: Path, log: Path) -> None:
        self._cache, self._log = cache, log
        self._process: asyncio.subprocess.Process | None = None
        self._is_ready = False

    async def __aenter__(self) -> "Compiler":
        await self._start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._end()

    @property
    def pid(self) -> int:
        """The process that loaded torch, 0 while there is none."""
        return 0 if self._process is None else self._process.pid

    async def forge(self, scratch: Path, *, patience_s: float, limit_s: float) -> Outcome:
        """Forge the specification in *scratch* and return the outcome, which is never later than *limit_s*.

        After *patience_s*, or if the compiler crashes, an eager kernel that is whole is taken as the outcome.
        """
        try:
            await self._awake()
            await self._say(Forge(str(scratch)))
            await self._hear(Started, _FAREWELL_S + limit_s)
            code = await self._code(scratch, patience_s, limit_s)
            if code is None:
                await self._say(Kill())
                await self._hear(Ended, _FAREWELL_S)
                return _cut_short(scratch, "timeout", f"not done within {patience_s:g} s")
        except (CompilerGone, TimeoutError, ConnectionError) as error:
            await self._end()
            return _cut_short(scratch, "crash", f"the compiler process ended: {error}")
        return _cut_short(scratch, "crash", f"the compiler ended with code {code}") if code else _whole(scratch)

    async def _start(self) -> None:
        self._is_ready = False
        starting = asyncio.create_task(self._started())
        try:
            self._process = await asyncio.shield(starting)
        except asyncio.CancelledError:
            # Cancelled half-way, asyncio would wait for ever for the end of pipes that it has not connected.
            self._process = await starting
            await self._end()
            raise

    async def _started(self) -> asyncio.subprocess.Process:
        with self._log.open("ab") as errors:
            return await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "esper.tezzeret.child",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                env=_environment(os.environ, self._cache),
                start_new_session=True,
            )

    async def _awake(self) -> None:
        if self._process is None or self._process.returncode is not None:
            await self._start()
        if not self._is_ready:
            await self._hear(Ready, _BOOT_LIMIT_S)
            self._is_ready = True

    async def _end(self) -> None:
        """End the process; it kills what it is forging when its stdin closes, and one not yet ready forges nothing."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        if not self._is_ready:
            _kill(process)
        try:
            if not await _ends(process):
                _kill(process)
                await _ends(process)
        finally:
            _hang_up(process)

    async def _say(self, order: Order) -> None:
        if self._process is None or self._process.stdin is None:
            raise CompilerGone("it is not running")
        self._process.stdin.write(msgspec.json.encode(order) + b"\n")
        await self._process.stdin.drain()

    async def _hear(self, wanted: type[Word], limit_s: float) -> Word:
        if self._process is None or self._process.stdout is None:
            raise CompilerGone("it is not running")
        async with asyncio.timeout(limit_s):
            line = await self._process.stdout.readline()
        if not line:
            raise CompilerGone("it said no more")
        return msgspec.json.decode(line, type=wanted)

    async def _code(self, scratch: Path, patience_s: float, limit_s: float) -> int | None:
        """Return the exit code of what is being forged, or None when it is not worth waiting for any longer."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        while (waited_s := loop.time() - began_s) < limit_s:
            if waited_s >= patience_s and read_outcome(scratch) is not None:
                return None
            try:
                ended = await self._hear(Ended, _GLANCE_S)
            except TimeoutError:
                continue
            return ended.code if isinstance(ended, Ended) else None
        return None


def _kill(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()


async def _ends(process: asyncio.subprocess.Process) -> bool:
    """Whether it ends soon; `wait` alone also waits for whoever else holds its pipes, which may be for ever."""
    try:
        async with asyncio.timeout(_FAREWELL_S):
            await process.wait()
    except TimeoutError:
        return process.returncode is not None
    return True


def _hang_up(process: asyncio.subprocess.Process) -> None:
    """Close what is left of the process and its pipes while the loop still runs, even if the farewell was cut short.

    Afterwards only the garbage collector would, with the loop gone. A compile that outlived its parent holds the other
    end open, so the end of its output is not waited for.
    """
    process._transport.close()  # type: ignore[attr-defined]  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue, reportUnknownMemberType]


def _whole(scratch: Path) -> Outcome:
    return read_outcome(scratch) or NotForged(reason="crash", detail=_output(scratch), stages=())


def _cut_short(scratch: Path, reason: str, why: str) -> Outcome:
    """Return the eager kernel if it was whole when forging ended early, else the failure."""
    outcome = read_outcome(scratch)
    if isinstance(outcome, Forged) and outcome.compiling:
        return msgspec.structs.replace(outcome, compiling=False, eager_fallback=True, fallback_reason=f"compile: {why}")
    return outcome or NotForged(reason=reason, detail=f"{why}\n{_output(scratch)}".strip(), stages=())


def _output(scratch: Path) -> str:
    path = scratch / OUTPUT_FILE
    return path.read_bytes()[-_DETAIL_BYTES:].decode(errors="replace") if path.exists() else ""


def _environment(environ: Mapping[str, str], cache: Path) -> dict[str, str]:
    """Return what the compiler may know of the environment: none of our secrets and addresses."""
    kept = {name: value for name, value in environ.items() if not name.startswith(("ESPER", "NATS"))}
    return kept | {
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
        "TORCHINDUCTOR_CACHE_DIR": str(cache),
        "TORCHINDUCTOR_COMPILE_THREADS": "1",
        # Believe the CPU's own flags: trying each instruction set out costs eight CPU seconds in a new cache folder.
        "TORCHINDUCTOR_VEC_ISA_OK": "1",
    }
