"""Having a blueprint examined in the sandbox's process."""

import os
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

import msgspec

from esper.karn.catalogue import descriptor
from esper.karn.errors import SandboxDied
from esper.karn.parameters import within_bounds
from esper.karn.sandbox.findings import Examination, Order
from esper.leyline.canonical import canonical_bytes
from esper.leyline.v1.site_pb2 import SiteShape

LIMIT_S = 10.0
MEMORY_MIB = 512
# All that the process inherits: no secret of the signing key, and nothing that says where a log is.
_INHERITED = ("PATH", "LANG", "TMPDIR", "OMP_NUM_THREADS", "LD_LIBRARY_PATH")


class Sandbox:
    """A process that examines one blueprint at a time, each in a fork of its own."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process

    def examine(
        self,
        blueprint_id: str,
        shape: SiteShape,
        parameters: Mapping[str, float] = MappingProxyType({}),
        *,
        init_seed: int = 0,
        limit_s: float = LIMIT_S,
        memory_mib: int = MEMORY_MIB,
    ) -> Examination:
        """Return what the probes found; a probe that takes longer than *limit_s* seconds is the last one.

        Raises:
            BlueprintRefused: no such blueprint, or a parameter outside its bounds; nothing was run.
            SandboxDied: the process that forks is gone; open a new sandbox.
        """
        chosen = within_bounds(descriptor(blueprint_id), parameters)
        order = Order(
            blueprint_id=blueprint_id,
            parameters=chosen,
            shape=canonical_bytes(shape).hex(),
            init_seed=init_seed,
            limit_s=limit_s,
            memory_mib=memory_mib,
        )
        orders, answers = self._process.stdin, self._process.stdout
        if orders is None or answers is None:
            raise SandboxDied(blueprint_id)
        try:
            orders.write(msgspec.json.encode(order) + b"\n")
            orders.flush()
        except BrokenPipeError as error:
            raise SandboxDied(blueprint_id) from error
        line = answers.readline()
        if not line:
            raise SandboxDied(blueprint_id)
        return msgspec.json.decode(line, type=Examination)


@contextmanager
def sandbox() -> Generator[Sandbox]:
    """Open a sandbox; at the end its process is killed, with what it was examining."""
    environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    program = [sys.executable, "-m", "esper.karn.sandbox.inside"]
    with subprocess.Popen(program, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield Sandbox(process)
        finally:
            process.kill()
