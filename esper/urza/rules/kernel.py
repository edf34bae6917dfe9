"""What may happen to one kernel in the library, and what each happening means."""

from typing import TypeAlias, assert_never

import msgspec
from msgspec.structs import replace

from esper.leyline.decider import Decider, RuleBroken
from esper.leyline.v1.kernel_pb2 import (
    KernelRegistered,
    KernelRejected,
    KernelRequested,
    KernelSpec,
    RegisterKernel,
    RejectKernel,
    RequestKernel,
)

KernelCommand: TypeAlias = RequestKernel | RegisterKernel | RejectKernel
KernelEvent: TypeAlias = KernelRequested | KernelRegistered | KernelRejected


class Kernel(msgspec.Struct, frozen=True):
    """One kernel key: who asked for it, the bundles that were registered (the last one serves) or rejected."""

    spec: KernelSpec | None = None
    requests: frozenset[str] = frozenset()
    registered: tuple[str, ...] = ()
    rejected: frozenset[tuple[str, str]] = frozenset()

    @property
    def settled(self) -> bool:
        """Whether the forge has given its answer, good or bad."""
        return bool(self.registered or self.rejected)


class KernelRuleBroken(RuleBroken):
    """A command that does not belong to this kernel."""

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(f"kernel command refused: {why}")


def decide(kernel: Kernel, command: KernelCommand) -> list[KernelEvent]:
    """Answer *command* with the events it causes; raise `KernelRuleBroken` for another kernel's specification."""
    match command:
        case RequestKernel(request_id=request) if request in kernel.requests:
            return []
        case RequestKernel():
            _same_kernel(kernel, command.spec)
            return [
                KernelRequested(
                    spec=command.spec,
                    request_id=command.request_id,
                    run_id=command.run_id,
                    seed_id=command.seed_id,
                )
            ]
        case RegisterKernel(kernel_id=kernel_id) if kernel_id in kernel.registered:
            return []
        case RegisterKernel():
            _same_kernel(kernel, command.spec)
            return [_registered(command, version=f"1.0.{len(kernel.registered)}")]
        case RejectKernel(kernel_id=kernel_id, job_id=job) if (kernel_id, job) in kernel.rejected:
            return []
        case RejectKernel():
            return [
                KernelRejected(
                    kernel_id=command.kernel_id, job_id=command.job_id, reason=command.reason, detail=command.detail
                )
            ]
        case _:
            assert_never(command)


def evolve(kernel: Kernel, event: KernelEvent) -> Kernel:
    """Fold one recorded fact into *kernel*. Total: history is never refused."""
    match event:
        case KernelRequested():
            return replace(kernel, spec=event.spec, requests=kernel.requests | {event.request_id})
        case KernelRegistered():
            return replace(kernel, spec=event.spec, registered=(*kernel.registered, event.kernel_id))
        case KernelRejected():
            return replace(kernel, rejected=kernel.rejected | {(event.kernel_id, event.job_id)})
        case _:
            assert_never(event)


KERNEL: Decider[Kernel, KernelCommand, KernelEvent] = Decider("Kernel", Kernel(), decide, evolve)


def _same_kernel(kernel: Kernel, spec: KernelSpec) -> None:
    if kernel.spec is not None and kernel.spec != spec:
        raise KernelRuleBroken("the specification is that of another kernel")


def _registered(command: RegisterKernel, version: str) -> KernelRegistered:
    event = KernelRegistered(
        kernel_id=command.kernel_id,
        job_id=command.job_id,
        spec=command.spec,
        version=version,
        bytes=command.bytes,
        guard_digest=command.guard_digest,
        verdict=command.verdict,
        compile_ms=command.compile_ms,
        eager_fallback=command.eager_fallback,
        fallback_reason=command.fallback_reason,
    )
    if command.HasField("prewarm_p50_ms") and command.HasField("prewarm_p95_ms"):
        event.prewarm_p50_ms, event.prewarm_p95_ms = command.prewarm_p50_ms, command.prewarm_p95_ms
    return event
