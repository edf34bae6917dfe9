"""Kernels to ask for, and the log in memory that forge and library can share."""

from uuid import uuid4

import torch

from actors.clock import SystemClock
from actors.place import Bus
from esper.leyline.canonical import kernel_key
from esper.leyline.registry import EVENTS
from esper.leyline.v1.enums_pb2 import SITE_KIND_VECTOR
from esper.leyline.v1.kernel_pb2 import KernelRegistered, KernelRejected, KernelSpec, OwnKernel, RequestKernel
from esper.leyline.v1.site_pb2 import SiteShape
from eventstore.memory import MemoryBus, MemoryStore
from eventstore.signing import Keys
from eventstore.store import CommandRecord, EventStore, Recorded, StreamName


class MemoryLog:
    """A log that lives as long as the test."""

    durable = False

    def __init__(self, keys: Keys) -> None:
        self.store = MemoryStore(EVENTS, keys)
        self.bus = MemoryBus(self.store)


def kernel_spec(blueprint_id: str, init_seed: int = 1, torch_version: str = "", width: int = 6) -> KernelSpec:
    shape = SiteShape(
        input_kind=SITE_KIND_VECTOR,
        input_size=[width],
        output_kind=SITE_KIND_VECTOR,
        output_size=[width],
        dtype="float32",
    )
    return KernelSpec(
        blueprint_id=blueprint_id,
        blueprint_version="1.0.0",
        shape=shape,
        init_seed=init_seed,
        torch_version=torch_version or str(torch.__version__),
    )


def kernel_stream(spec: KernelSpec) -> StreamName:
    return StreamName("kernel", kernel_key(spec))


def job_stream(spec: KernelSpec) -> StreamName:
    return StreamName("job", kernel_key(spec))


async def request(bus: Bus, spec: KernelSpec, *, traceparent: str = "", own: OwnKernel | None = None) -> None:
    """Ask for the kernel of *spec* as a trainer does, which may bring its *own*."""
    command_id = uuid4().hex
    await bus.send(
        CommandRecord(
            command_id=command_id,
            target="urza",
            command=RequestKernel(spec=spec, request_id=command_id, run_id="r1", seed_id="s0", own=own),
            stream=kernel_stream(spec),
            issued_at_ns=SystemClock().now_ns(),
            issued_by="kasmina",
            run_id="r1",
            traceparent=traceparent,
        )
    )


async def answers(store: EventStore, specs: list[KernelSpec]) -> dict[StreamName, Recorded]:
    """Return what the library finally says of each of *specs*."""
    waiting, found = {kernel_stream(spec) for spec in specs}, dict[StreamName, Recorded]()
    async for recorded in store.follow():
        if recorded.stream in waiting and isinstance(recorded.event, KernelRegistered | KernelRejected):
            found[recorded.stream] = recorded
            if len(found) == len(waiting):
                return found
    raise AssertionError("unreachable: a log is followed without end")
