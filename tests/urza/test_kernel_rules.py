"""Given what happened to a kernel, when something is asked of it, then this follows."""

import pytest

from esper.leyline.v1.kernel_pb2 import (
    KernelRegistered,
    KernelRejected,
    KernelRequested,
    KernelSpec,
    RegisterKernel,
    RejectKernel,
    RequestKernel,
)
from esper.urza.rules.kernel import KERNEL, KernelCommand, KernelEvent, KernelRuleBroken

SPEC, OTHER = KernelSpec(blueprint_id="BP002"), KernelSpec(blueprint_id="BP021")
REQUEST = RequestKernel(spec=SPEC, request_id="r1", run_id="run", seed_id="s0")
REQUESTED = KernelRequested(spec=SPEC, request_id="r1", run_id="run", seed_id="s0")
REGISTER = RegisterKernel(kernel_id="k1", job_id="j", spec=SPEC, prewarm_p50_ms=0.5, prewarm_p95_ms=0.9)


def when(command: KernelCommand, *history: KernelEvent) -> list[KernelEvent]:
    return KERNEL.decide(KERNEL.fold(history), command)


def test_a_request_is_recorded_once():
    assert when(REQUEST) == [REQUESTED]
    assert when(REQUEST, REQUESTED) == []


def test_everybody_who_asks_is_recorded():
    assert len(when(RequestKernel(spec=SPEC, request_id="r2"), REQUESTED)) == 1


@pytest.mark.parametrize("command", [RequestKernel(spec=OTHER, request_id="r2"), RegisterKernel(spec=OTHER)], ids=str)
def test_another_kernels_specification_is_refused(command: KernelCommand):
    with pytest.raises(KernelRuleBroken, match="another kernel"):
        when(command, REQUESTED)


def test_the_first_bundle_is_version_one_and_later_ones_are_patches():
    (first,) = when(REGISTER, REQUESTED)
    assert isinstance(first, KernelRegistered)
    assert first.version == "1.0.0"
    (second,) = when(RegisterKernel(kernel_id="k2", spec=SPEC), REQUESTED, first)
    assert isinstance(second, KernelRegistered)
    assert second.version == "1.0.1"


def test_a_bundle_is_registered_once():
    assert when(REGISTER, *when(REGISTER)) == []


def test_a_time_that_was_not_measured_stays_absent():
    (unmeasured,) = when(RegisterKernel(kernel_id="k1", spec=SPEC))
    assert isinstance(unmeasured, KernelRegistered)
    assert not unmeasured.HasField("prewarm_p50_ms")


def test_a_rejection_is_recorded_once():
    reject = RejectKernel(kernel_id="k1", job_id="j", reason="signature_invalid", detail="who?")
    rejected = KernelRejected(kernel_id="k1", job_id="j", reason="signature_invalid", detail="who?")
    assert when(reject, REQUESTED) == [rejected]
    assert when(reject, REQUESTED, rejected) == []


def test_it_is_settled_by_either_answer():
    answers: list[list[KernelEvent]] = [
        [],
        [REQUESTED],
        [KernelRegistered(kernel_id="k1")],
        [KernelRejected(job_id="j")],
    ]
    assert [KERNEL.fold(history).settled for history in answers] == [False, False, True, True]
