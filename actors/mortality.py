"""Processes that end when another one ends, however it ends."""

import asyncio
import ctypes
import os
import signal
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_POLL_S = 0.2


def die_with(parent_pid: int) -> None:
    """Make this process receive SIGTERM when *parent_pid*, its parent, ends; exit at once if it already has.

    Only Linux tells a process of its parent's end; elsewhere call `gone` and act on it.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent_pid:
        raise SystemExit(f"process {parent_pid}, which started this one, is gone")


def alive(pid: int) -> bool:
    """Whether *pid* is a process that has not ended; a zombie has ended."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return _stat(pid)[:1] != ["Z"]


def birth(pid: int) -> str:
    """Return what tells *pid* from a later process of the same number (Linux), or "" where nothing does."""
    fields = _stat(pid)
    return fields[19] if len(fields) > 19 else ""


async def gone(pid: int) -> None:
    """Return when the process *pid* has ended; at once if there is none."""
    if not alive(pid):
        return
    if sys.platform != "linux":
        while alive(pid):  # noqa: ASYNC110 - there is nothing to wait on but the process table
            await asyncio.sleep(_POLL_S)
        return
    try:
        watch = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(watch, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(watch)
        os.close(watch)


def _stat(pid: int) -> list[str]:
    """Return what /proc says of *pid*: its state first, its start time 20th; empty where there is no /proc."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    # The name in parentheses may itself hold spaces and parentheses.
    return stat.rpartition(")")[2].split()
