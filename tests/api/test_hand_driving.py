"""A slot driven by hand: blends, curves, pauses and other targets, by the commands that Tamiyo sends."""

import pytest
import torch

import esper
from esper.api.baking import bake
from esper.api.slots import Accepted, Rejected
from esper.leyline.v1.seed_pb2 import (
    AlphaRampPaused,
    SeedBlendingStarted,
    SeedCommandRefused,
    SeedFossilized,
    SeedGerminated,
)
from tests.api.hosts import digits
from tests.api.scripted_log import FAST, SPAN, Run, ScriptedLog, narrow

RESIDUAL = "BP-PROJ-LoRA-64"


def by_hand(log: ScriptedLog, **how: object) -> Run:
    """A run whose one seed, blended as *how* says, has been trained for two epochs."""
    run = Run(log, controller=None, settings=FAST)
    run.session.observe(digits().train_x[:8])
    told = run.session.slots[SPAN].germinate(RESIDUAL, rank=4, **how)  # type: ignore[arg-type]
    assert isinstance(told, Accepted), told
    run.to(2)
    assert run.session.stages[SPAN] == "training"
    return run


def evidence(run: Run) -> dict[str, float]:
    """What gate G2 asks for, made to pass: these tests are about what comes after it."""
    return dict(run.session.facts.seeds[0].measured) | {
        "best_alpha": 1.0, "probe_gain": 0.1, "r_squared": 0.1, "predicted_loss_decrease": 0.1,
    }  # fmt: skip


def test_a_seed_is_paused_on_its_way_in_and_given_another_target(log: ScriptedLog):
    run = by_hand(log)
    slot = run.session.slots[SPAN]
    assert isinstance(slot.blend(evidence(run), steps=8, curve="sigmoid"), Accepted)
    run.steps(4)
    assert isinstance(slot.pause(), Accepted)
    (paused,) = log.of(AlphaRampPaused)
    run.steps(8)
    assert run.session._growth.slots["s0"].alpha == pytest.approx(paused.alpha) == pytest.approx(0.5)
    assert isinstance(slot.shadow(slot.measured()), Rejected)
    assert isinstance(slot.set_alpha(0.75, steps=4, curve="linear"), Accepted)
    run.steps(2)
    assert run.session._growth.slots["s0"].alpha == pytest.approx(0.625)
    run.steps(3)
    assert run.session._growth.slots["s0"].alpha == 0.75
    onward = log.of(SeedBlendingStarted)[-1]
    assert (onward.alpha_from, onward.alpha_target, onward.ramp_steps) == (paused.alpha, 0.75, 4)
    run.session.end_epoch()
    run.assert_the_log_is_sound()


def test_a_seed_on_probation_goes_back_to_blending_towards_another_alpha(log: ScriptedLog):
    run = by_hand(log)
    slot = run.session.slots[SPAN]
    slot.blend(evidence(run), steps=2)
    run.to(3)
    assert isinstance(slot.shadow(run.session.facts.seeds[0].measured), Accepted)
    run.to(4)
    assert run.session.stages[SPAN] == "probationary"
    run.steps(1)
    assert isinstance(slot.set_alpha(0.5, steps=2), Accepted)
    assert run.session.stages[SPAN] == "blending"
    run.steps(3)
    assert run.session._growth.slots["s0"].alpha == 0.5
    run.session.end_epoch()
    run.assert_the_log_is_sound()


@pytest.mark.parametrize("asked", [0.0, 1.5])
def test_an_alpha_that_cannot_be_is_refused_with_what_to_do(log: ScriptedLog, asked: float):
    run = by_hand(log)
    slot = run.session.slots[SPAN]
    slot.blend(evidence(run), steps=1)
    run.steps(2)
    told = slot.set_alpha(asked)
    assert isinstance(told, Rejected)
    assert "cull the seed" in told.reason
    assert log.of(SeedCommandRefused)[-1].command_type == "RetargetAlpha"


def test_a_pause_without_a_ramp_is_refused(log: ScriptedLog):
    run = by_hand(log)
    told = run.session.slots[SPAN].pause()
    assert isinstance(told, Rejected)
    assert "a training seed cannot PauseRamp" in told.reason


@pytest.mark.parametrize(
    ("mode", "numbers"),
    [
        ("channel", {"channel_shares": [1.0, 0.5] * 5}),
        ("confidence", {"steepness": 6.0, "highest": 0.9}),
        ("multiply", {}),
        ("gate", {}),
    ],
)
def test_a_seed_of_every_blend_is_kept_resumed_and_baked(log: ScriptedLog, mode: str, numbers: dict, tmp_path):
    run = by_hand(log, mode=mode, blend=numbers)
    slot = run.session.slots[SPAN]
    assert isinstance(slot.blend(evidence(run), steps=4), Accepted)
    run.to(3)
    assert isinstance(slot.shadow(run.session.facts.seeds[0].measured), Accepted)
    run.to(6)
    assert isinstance(slot.fossilize(run.session.facts.seeds[0].measured), Accepted)
    run.to(8)
    whole = run.weights
    (germinated,) = log.of(SeedGerminated)
    assert list(germinated.blend.channel_shares) == numbers.get("channel_shares", [])
    assert len(log.of(SeedFossilized)) == 1

    again = Run(log, resume=run.session.run_id, controller=None, settings=FAST)
    assert again.weights == whole
    x = digits().test_x[:16]
    computed = again.model.eval()(x)
    plain = esper.unwrap(again.model)
    assert torch.equal(plain(x), computed)
    bake(plain, tmp_path / "baked")
    bare = narrow()
    bare.load_state_dict({name: value for name, value in plain.state_dict().items() if "esper_" not in name})
    assert not torch.equal(bare(x), computed)


def test_a_blend_that_its_site_cannot_have_is_refused_and_told(log: ScriptedLog):
    run = Run(log, controller=None)
    run.session.observe(digits().train_x[:8])
    told = run.session.slots[SPAN].germinate(RESIDUAL, mode="channel", blend={"channel_shares": [1.0]})
    assert isinstance(told, Rejected)
    assert "a share for each of 10 channels, not 1" in told.reason
    with pytest.raises(ValueError, match="convex, residual, channel, confidence, multiply, gate"):
        run.session.slots[SPAN].germinate(RESIDUAL, mode="wild")
    with pytest.raises(ValueError, match="channel_shares"):
        run.session.slots[SPAN].germinate(RESIDUAL, mode="gate", blend={"warmth": 1.0})
