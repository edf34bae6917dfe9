"""A slot is clean after a cull, whichever stage its seed was in: gate G5 has the evidence, and the memory is back."""

import gc

import msgspec
import pytest
import torch
from torch import Tensor

from esper.api.slots import Accepted, SlotHandle
from esper.kasmina.rules.gates import MEMORY_LEFT
from esper.leyline.v1.enums_pb2 import SeedLifecycleGate as Gate
from esper.leyline.v1.seed_pb2 import GateEvaluated, SeedCulled, SlotReopened
from tests.api.scripted_log import FAST, SPAN, Run, ScriptedLog

PROVEN = dict.fromkeys(("best_alpha", "probe_gain", "r_squared", "predicted_loss_decrease", "epochs_in_stage"), 1.0)
SETTINGS = msgspec.structs.replace(FAST, checkpoint_every_epochs=1000, checkpoint_when_kept=False)
STAGES = ("germinated", "training", "blending", "shadowing", "probationary")


def tensor_bytes() -> int:
    """The memory of every tensor that anybody holds, each storage once."""
    gc.collect()
    held = [thing for thing in gc.get_objects() if type(thing) in (Tensor, torch.nn.Parameter)]
    return sum({each.untyped_storage().data_ptr(): each.untyped_storage().nbytes() for each in held}.values())


def bring(run: Run, slot: SlotHandle, stage: str) -> None:
    """Let a new seed live in *slot* until it is in *stage*."""
    assert isinstance(slot.germinate("BP002"), Accepted)
    if stage == "germinated":
        return
    run.steps(3)
    if stage == "training":
        return
    assert isinstance(slot.blend({**slot.measured(), **PROVEN}, alpha=1.0, steps=2), Accepted)
    run.steps(4)
    if stage == "blending":
        return
    # What the seed is worth is measured while it is in the forward pass.
    run.session.end_epoch()
    run.steps(1)
    assert isinstance(slot.shadow(slot.measured()), Accepted)
    run.steps(1 if stage == "shadowing" else 5)


def test_a_slot_is_clean_after_a_cull_at_every_stage(log: ScriptedLog):
    run = Run(log, controller=None, settings=SETTINGS)
    slot = run.session.slots[SPAN]
    run.to(1)
    before = tensor_bytes()
    for generation, stage in enumerate(STAGES, 1):
        bring(run, slot, stage)
        assert slot.stage == stage
        grown = tensor_bytes()
        assert isinstance(slot.cull(), Accepted)
        while slot.stage != "dormant":
            run.to(run.session.epoch + 1)
        assert stage == "germinated" or grown > 1.01 * before
        assert tensor_bytes() == pytest.approx(before, rel=0.01), stage
        assert (len(log.of(SeedCulled)), len(log.of(SlotReopened))) == (generation, generation)
    verdicts = [event for event in log.of(GateEvaluated) if event.gate == Gate.SEED_GATE_G5_RESET]
    assert [dict(event.inputs) for event in verdicts] == [dict.fromkeys(verdicts[0].thresholds, 0.0)] * len(STAGES)
    assert MEMORY_LEFT in verdicts[0].thresholds
    run.assert_the_log_is_sound()


def test_a_slot_of_whose_seed_somebody_holds_the_weights_stays_closed_until_they_let_go(log: ScriptedLog):
    run = Run(log, controller=None, settings=SETTINGS)
    slot = run.session.slots[SPAN]
    run.to(1)
    bring(run, slot, "training")
    held = list(slot._slot.module.parameters())
    slot.cull()
    run.to(6)
    assert slot.stage == "resetting"
    failed = [event for event in log.of(GateEvaluated) if event.gate == Gate.SEED_GATE_G5_RESET]
    assert {tuple(event.checks_failed) for event in failed} == {(MEMORY_LEFT,)}
    assert len(failed) > 1
    held.clear()
    run.to(7)
    assert slot.stage == "dormant"
    run.assert_the_log_is_sound()
