"""The sandbox's process: loads torch once, then forks a process for each blueprint, which it watches and kills.

Run as `python -m esper.karn.sandbox.inside`; orders come as lines on stdin, answers go out as lines on stdout. When
stdin ends, so does it. The forked process leads a session of its own, has no more memory than it was granted, and
gets a deadline for every probe.
"""

import os
import resource
import select
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import torch

from esper.karn.builders import build
from esper.karn.catalogue import descriptor
from esper.karn.parameters import within_bounds
from esper.karn.sandbox.findings import Examination, Finding, Order
from esper.karn.sandbox.probes import probes
from esper.leyline.v1.enums_pb2 import BLEND_MODE_RESIDUAL
from esper.leyline.v1.site_pb2 import SiteShape

_OUT_OF_MEMORY, _RAISED = 3, 4


def main() -> None:
    """Examine what is ordered until stdin ends."""
    torch.set_num_threads(1)
    for line in sys.stdin:
        examination = _examined(msgspec.json.decode(line, type=Order))
        sys.stdout.write(msgspec.json.encode(examination).decode() + "\n")
        sys.stdout.flush()


def _examined(order: Order) -> Examination:
    began = time.monotonic()
    reads, writes = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reads)
        _become_the_examined(order, writes)
    os.close(writes)
    findings, hung = list[Finding](), False
    for heard in _lines(reads, order.limit_s):
        hung = heard is None
        if heard:
            findings.append(msgspec.json.decode(heard, type=Finding))
    os.close(reads)
    _kill(pid)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    ended, detail = "", ""
    if hung:
        ended, detail = "hang", f"a probe was not done within {order.limit_s:g} s"
    elif code == _OUT_OF_MEMORY:
        ended, detail = "memory", f"it wanted more than {order.memory_mib} MiB"
    elif code != 0:
        ended, detail = "crash", f"its process ended with {code}"
    return Examination(
        blueprint_id=order.blueprint_id,
        findings=tuple(findings),
        ended=ended,
        detail=detail,
        seconds=time.monotonic() - began,
    )


def _lines(reads: int, limit_s: float) -> Iterator[bytes | None]:
    """Yield what the forked process says, line by line, until it ends; None if it was silent for too long."""
    heard = b""
    while True:
        readable, _, _ = select.select([reads], [], [], limit_s)
        if not readable:
            yield None
            return
        data = os.read(reads, 65_536)
        if not data:
            return
        *lines, heard = (heard + data).split(b"\n")
        yield from lines


def _kill(pid: int) -> None:
    """Kill the forked process with its children; it is our own, and not yet waited for, so its number is its own."""
    os.kill(pid, signal.SIGKILL)
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        # It had not yet become the leader of its group, or had no children.
        return


def _become_the_examined(order: Order, writes: int) -> None:
    """Be the forked process: build the module, measure it, and end."""
    os.setsid()
    silence = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(silence, stream)
    granted = _virtual_bytes() + (order.memory_mib << 20)
    resource.setrlimit(resource.RLIMIT_AS, (granted, granted))
    code = _RAISED
    try:
        _measure(order, writes)
        code = 0
    except MemoryError:
        code = _OUT_OF_MEMORY
    except RuntimeError as error:
        code = _OUT_OF_MEMORY if "allocate" in str(error) else _RAISED
    finally:
        os._exit(code)


def _measure(order: Order, writes: int) -> None:
    described = descriptor(order.blueprint_id)
    shape = SiteShape.FromString(bytes.fromhex(order.shape))
    if described.quarantine_only:
        from esper.karn.sandbox.harmful import harmful

        module = harmful(order.blueprint_id, within_bounds(described, order.parameters), order.init_seed)
    else:
        module = build(order.blueprint_id, order.parameters, shape, order.init_seed)
    for probe in probes(module, shape, adds=described.blend_mode == BLEND_MODE_RESIDUAL):
        os.write(writes, msgspec.json.encode(probe()) + b"\n")


def _virtual_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


if __name__ == "__main__":
    main()
