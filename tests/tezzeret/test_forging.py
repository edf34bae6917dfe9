"""The forge's own findings: guards that repeat, comparisons that can fail, refusals with their reason."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from esper.leyline.v1.kernel_pb2 import KernelSpec
from esper.tezzeret.compiling import TIMED_CALLS, disagreement, eager_callee, plain_callee, time_side_by_side
from esper.tezzeret.errors import ForgeFailed
from esper.tezzeret.exporting import export_module
from esper.tezzeret.forge import Attempt
from esper.tezzeret.outcome import NotForged, read_outcome
from esper.urza.guard import guard_bytes
from tests.urza.shelf import SHAPE, SPEC, guard_for, module


def spec(change: KernelSpec) -> KernelSpec:
    changed = KernelSpec()
    changed.CopyFrom(SPEC)
    changed.MergeFrom(change)
    return changed


def test_guard_and_graph_are_the_same_each_time_and_name_no_place():
    first, again = export_module(module(), SHAPE), export_module(module(), SHAPE)
    assert (guard_bytes(first.guard), first.graph) == (guard_bytes(again.guard), again.graph)
    assert b"/" not in first.graph


def test_the_guard_says_what_goes_in_and_out_for_any_batch():
    found = export_module(module(), SHAPE).guard
    assert (found.inputs, found.outputs, found.parameters) == (
        guard_for().inputs,
        guard_for().outputs,
        guard_for().parameters,
    )


class Peeking(nn.Module):
    def forward(self, features: Tensor) -> Tensor:
        return features * 2 if bool(features.sum() > 0) else features


def test_a_module_whose_graph_depends_on_its_data_is_not_forged():
    with pytest.raises(ForgeFailed, match="export"):
        export_module(Peeking(), SHAPE)


def test_an_identity_has_nothing_to_compile():
    same = SHAPE.__class__()
    same.CopyFrom(SHAPE)
    same.output_size[0] = 6
    assert not export_module(nn.Identity(), same).computes


def test_a_callee_that_computes_something_else_is_found_out():
    own = module()
    eager = eager_callee(own)

    def wrong(parameters: Mapping[str, Tensor], features: Tensor) -> Tensor:
        return eager(parameters, features) * 1.01

    def wrong_backwards(parameters: Mapping[str, Tensor], features: Tensor) -> Tensor:
        output = eager(parameters, features)
        return output.detach() + 0.5 * (output - output.detach())

    assert disagreement(eager, eager, own, SHAPE) is None
    assert "output differs" in (disagreement(eager, wrong, own, SHAPE) or "")
    assert "gradient differs" in (disagreement(eager, wrong_backwards, own, SHAPE) or "")


def test_each_callee_is_timed_equally_often():
    own = module()
    timings = time_side_by_side([eager_callee(own), plain_callee(own)], own, SHAPE)
    assert [len(samples) for samples in timings] == [TIMED_CALLS] * 2
    assert all(sample > 0.0 for samples in timings for sample in samples)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (KernelSpec(blueprint_id="BP999"), "no blueprint 'BP999'"),
        (KernelSpec(parameters={"dropout": 0.9}), "dropout=0.9 refused"),
        (KernelSpec(torch_version="1.0.0"), f"here are torch {torch.__version__}"),
        (KernelSpec(blueprint_version="9.9.9"), "blueprint version 1.0.0"),
    ],
)
def test_what_this_installation_cannot_build_is_invalid(wrong: KernelSpec, why: str, tmp_path: Path):
    outcome = Attempt(spec(wrong), tmp_path).outcome()
    assert isinstance(outcome, NotForged)
    assert outcome.reason == "invalid"
    assert why in outcome.detail
    assert read_outcome(tmp_path) is None
