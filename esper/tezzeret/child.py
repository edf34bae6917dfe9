"""The compiler process: loads torch once, then forks a process for each kernel, one at a time.

Run as `python -m esper.tezzeret.child`; orders come as lines on stdin, words go out as lines on stdout
(`esper.tezzeret.outcome`). When stdin ends, so does it, with whatever it is forging. It needs no network and no
secret, runs at the lowest priority, and each kernel's process leads a session of its own, so that it can be killed
with its children.
"""

import os
import resource
import select
import signal
import sys
from pathlib import Path

import msgspec
import torch
from torch._inductor.runtime.cache_dir_utils import cache_dir

from esper.leyline.v1.kernel_pb2 import KernelSpec
from esper.tezzeret.cache import CompilerCache
from esper.tezzeret.compiling import prepare_compiler
from esper.tezzeret.forge import Attempt
from esper.tezzeret.outcome import (
    OUTPUT_FILE,
    SPEC_FILE,
    Ended,
    Forge,
    Kill,
    Order,
    Ready,
    Started,
    Word,
    write_outcome,
)

_STDIN, _STDOUT, _STDERR = 0, 1, 2
_MEMORY_LIMIT_BYTES = 8 << 30
# Ends a runaway even if nobody is left to kill it.
_CPU_LIMIT_S = 900


class _Orders:
    """The lines on stdin, read without buffering ahead of what `select` sees."""

    def __init__(self) -> None:
        self._read = b""

    def arrive(self) -> list[Order] | None:
        """Return the whole orders that can be read now; None at the end."""
        data = os.read(_STDIN, 65_536)
        if not data:
            return None
        *lines, self._read = (self._read + data).split(b"\n")
        return [msgspec.json.decode(line, type=Order) for line in lines]


def main() -> None:
    """Forge what is ordered until stdin ends."""
    os.nice(19)
    cache = CompilerCache(Path(cache_dir()))
    cache.discard()
    prepare_compiler()
    _say(Ready())
    orders, waiting = _Orders(), list[Forge]()
    while True:
        if waiting:
            if not _forge(waiting.pop(0), orders, waiting, cache):
                return
            continue
        arrived = orders.arrive()
        if arrived is None:
            return
        waiting += [order for order in arrived if isinstance(order, Forge)]


def _forge(order: Forge, orders: _Orders, waiting: list[Forge], cache: CompilerCache) -> bool:
    """Fork, and wait until the fork has ended; False if stdin ended first."""
    cache.begin()
    alive, its_life = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(alive)
        _become_forger(order)
    os.close(its_life)
    _say(Started(pid))
    goes_on = True
    while goes_on:
        readable, _, _ = select.select([_STDIN, alive], [], [])
        if alive in readable:
            break
        arrived = orders.arrive()
        goes_on = arrived is not None
        waiting += [later for later in arrived or () if isinstance(later, Forge)]
        if arrived is None or any(isinstance(one, Kill) for one in arrived):
            _kill(pid)
    os.close(alive)
    # What it started and did not wait for ends with it.
    _kill(pid)
    _, status = os.waitpid(pid, 0)
    if status == 0:
        cache.keep()
    else:
        cache.discard()
    if goes_on:
        _say(Ended(os.waitstatus_to_exitcode(status)))
    return goes_on


def _kill(pid: int) -> None:
    """Kill the forked process with its children; it is our own, and not yet waited for, so its number is its own."""
    os.kill(pid, signal.SIGKILL)
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        # It had not yet become the leader of its group.
        return


def _become_forger(order: Forge) -> None:
    """Be the forked process: forge what is ordered, and end."""
    scratch = Path(order.scratch)
    os.setsid()
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_LIMIT_S, _CPU_LIMIT_S))
    if torch.version.cuda is None:
        # A CUDA build of torch reserves far more address space than it uses.
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_LIMIT_BYTES, _MEMORY_LIMIT_BYTES))
    output = os.open(scratch / OUTPUT_FILE, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    for stream in (_STDOUT, _STDERR):
        os.dup2(output, stream)
    os.close(_STDIN)
    spec = KernelSpec.FromString((scratch / SPEC_FILE).read_bytes())
    write_outcome(scratch, Attempt(spec, scratch).outcome())
    sys.stdout.flush()
    os._exit(0)


def _say(word: Word) -> None:
    os.write(_STDOUT, msgspec.json.encode(word) + b"\n")


if __name__ == "__main__":
    main()
