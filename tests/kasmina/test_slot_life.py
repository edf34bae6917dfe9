"""What a seed does in the forward pass, stage by stage, and what is left when it goes."""

import copy

import pytest
import torch
from torch import Tensor, nn

from esper.kasmina.errors import SiteNotObserved, SlotEmpty, SlotOccupied
from esper.kasmina.rules.alpha import Ramp
from esper.kasmina.slot import Slot
from esper.kasmina.undisturbed import undisturbed
from esper.leyline.v1.enums_pb2 import (
    ALPHA_CURVE_LINEAR,
    BLEND_MODE_CONVEX,
    BLEND_MODE_RESIDUAL,
    SEED_STAGE_BLENDING,
    SEED_STAGE_DORMANT,
)
from tests.kasmina.growing_host import (
    BLOCK,
    HEAD,
    SPAN,
    Host,
    ImageSeed,
    SpanSeed,
    digits,
    hooks,
    planted,
    same,
    train,
    weights,
)


@pytest.fixture
def model() -> Host:
    torch.manual_seed(11)
    return Host()


@pytest.fixture
def images() -> Tensor:
    return digits(16)[0]


def ramp(steps: int, target: float = 1.0) -> Ramp:
    return Ramp(0, steps, 0.0, target, ALPHA_CURVE_LINEAR)


def grown(model: nn.Module) -> Slot:
    """A slot whose seed has learned a little and is fully blended in."""
    slot = planted(model, SPAN, SpanSeed())
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    train(model, optimizer, 10, slots=(slot,))
    slot.begin_blending(ramp(4))
    train(model, optimizer, 5, slots=(slot,))
    return slot


def test_a_seed_joins_at_alpha_zero_without_changing_the_model(model: Host, images: Tensor):
    slot = planted(model, BLOCK, ImageSeed())
    nn.init.ones_(slot.module.gain)
    model.eval()
    before = model(images)
    slot.begin_blending(ramp(10))
    assert torch.equal(model(images), before)
    slot.hold(0.5)
    assert not torch.equal(model(images), before)


def test_alpha_follows_the_ramp_and_rests_exactly_at_its_target(model: Host):
    slot = planted(model, SPAN, SpanSeed())
    slot.begin_blending(ramp(4, target=0.75))
    slot.step(2)
    assert (slot.alpha, slot.measured()["ramp_complete"]) == (0.375, 0.0)
    slot.step(9)
    assert (slot.alpha, slot.measured()["ramp_complete"], slot.measured()["alpha_error"]) == (0.75, 1.0, 0.0)


def test_a_blending_seed_learns_from_the_users_loss(model: Host):
    slot = grown(model)
    before = weights(slot.module)
    train(model, torch.optim.SGD(model.parameters(), lr=0.0), 1, slots=(slot,))
    assert not same(before, weights(slot.module))
    assert all(parameter.grad is None for parameter in slot.module.parameters())
    assert slot.measured()["rms_ratio"] > 0.0
    assert slot.measured()["io_contract_ok"] == 1.0


def test_a_blending_seed_never_moves_the_hosts_random_stream(model: Host, images: Tensor):
    slot = planted(model, BLOCK, ImageSeed())
    slot.begin_blending(ramp(1))
    torch.manual_seed(5)
    model(images)
    after = torch.rand(4)
    slot.remove()
    torch.manual_seed(5)
    model(images)
    assert torch.equal(after, torch.rand(4))


def test_a_shadowing_seed_is_out_of_the_forward_pass_and_probed_on_live_batches(model: Host, images: Tensor):
    slot = grown(model)
    with slot.override_alpha(0.0):
        model.eval()
        host_alone = model(images)
    slot.begin_shadowing()
    assert torch.equal(model(images), host_alone)
    train(model.train(), torch.optim.SGD(model.parameters(), lr=0.0), 3, slots=(slot,))
    assert (slot.measured()["shadow_probes"], slot.measured()["shadow_nonfinite"]) == (4.0, 0.0)
    assert slot.alpha == 1.0


def test_probation_brings_the_seed_back_at_the_alpha_it_had(model: Host, images: Tensor):
    slot = grown(model)
    model.eval()
    blended = model(images)
    slot.begin_shadowing()
    slot.begin_probation()
    assert torch.equal(model(images), blended)


def test_overriding_alpha_works_in_every_stage_and_moves_nothing(model: Host, images: Tensor):
    slot = planted(model, BLOCK, ImageSeed())
    nn.init.ones_(slot.module.gain)
    before = slot.state()
    host_alone = model.eval()(images)
    with undisturbed(model), slot.override_alpha(1.0):
        assert not torch.equal(model.train()(images), host_alone)
    after = slot.state()
    assert before[1] == after[1]
    assert same(list(before[0].values()), list(after[0].values()))
    assert torch.equal(model.eval()(images), host_alone)


def test_removing_a_seed_restores_the_function_and_leaves_nothing(model: Host, images: Tensor):
    slot = grown(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    # Without a graph, which would hold the seed's weights.
    with torch.no_grad(), slot.override_alpha(0.0):
        host_alone = model.eval()(images)
    slot.remove()
    assert torch.equal(model(images), host_alone)
    assert hooks(model) == 0
    assert set(slot.leftovers(optimizer).values()) == {0.0}
    assert slot.stage == SEED_STAGE_DORMANT


def test_leftovers_are_found(model: Host):
    slot = planted(model, SPAN, SpanSeed())
    kept = slot.module
    slot.remove()
    model.forgotten = kept
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    found = slot.leftovers(optimizer)
    assert (found["modules_left"], found["optimizer_parameters_left"]) == (1.0, 4.0)


def test_a_seed_that_raises_in_a_live_forward_is_left_out_and_has_failed(model: Host, images: Tensor):
    slot = planted(model, SPAN, nn.Linear(3, 3))
    host_alone = model.eval()(images)
    slot.begin_blending(ramp(1))
    slot.step(1)
    assert torch.equal(model(images), host_alone)
    assert slot.failed.startswith("raised: RuntimeError")
    assert slot.measured()["io_contract_ok"] == 0.0


def test_a_seed_of_another_shape_is_left_out_and_has_failed(model: Host, images: Tensor):
    slot = planted(model, SPAN, nn.Sequential(nn.Flatten(), nn.Linear(64, 1)))
    host_alone = model.eval()(images)
    slot.begin_blending(ramp(1))
    slot.step(1)
    assert torch.equal(model(images), host_alone)
    assert slot.failed.startswith("wrong_shape")


def test_a_seed_that_returns_nan_is_left_out_and_counted(model: Host, images: Tensor):
    slot = grown(model)
    nn.init.constant_(slot.module.outer.bias, torch.nan)
    assert bool(torch.isfinite(model(images)).all())
    assert slot.measured()["nonfinite_batches"] == 1.0
    assert slot.failed.startswith("non_finite")


def test_a_training_seed_whose_output_is_nan_skips_its_steps_and_has_failed(model: Host):
    slot = planted(model, SPAN, SpanSeed())
    nn.init.constant_(slot.module.outer.bias, torch.nan)
    train(model, torch.optim.SGD(model.parameters(), lr=0.1), 3, slots=(slot,))
    assert slot.measured()["nonfinite_batches"] == 3.0
    assert slot.failed.startswith("non_finite")


def test_seeds_at_one_exit_act_in_the_order_of_their_sites_not_of_their_planting(images: Tensor):
    def outputs(first_span: bool) -> Tensor:
        torch.manual_seed(0)
        model = Host().eval()
        seeds = [(SPAN, SpanSeed(), BLEND_MODE_RESIDUAL), (HEAD, nn.Linear(10, 10), BLEND_MODE_CONVEX)]
        nn.init.ones_(seeds[0][1].outer.bias)
        slots = [planted(model, site, seed, mode) for site, seed, mode in (seeds if first_span else seeds[::-1])]
        for slot in slots:
            slot.hold(0.5)
            slot.begin_probation()
        return model(images)

    assert torch.equal(outputs(first_span=True), outputs(first_span=False))


def test_a_deep_copy_of_a_growing_model_computes_the_same_and_lives_on_its_own(model: Host, images: Tensor):
    slot = grown(model)
    twin = copy.deepcopy(model).eval()
    assert torch.equal(twin(images), model.eval()(images))
    nn.init.ones_(slot.module.outer.weight)
    assert not torch.equal(twin(images), model(images))


def test_a_slot_says_what_it_lacks(model: Host):
    slot = Slot(SPAN, model)
    with pytest.raises(SlotEmpty, match="s1 holds no seed"):
        slot.begin_shadowing()
    with pytest.raises(SiteNotObserved, match="open a window first"):
        slot.plant(SpanSeed(), mode=BLEND_MODE_RESIDUAL, learning_rate=None, init_seed=0)
    busy = planted(Host(), SPAN, SpanSeed())
    with pytest.raises(SlotOccupied, match="holds a seed already"):
        busy.open_window()


def test_a_seed_promises_what_it_learned_on_batches_it_was_not_trained_on(model: Host):
    slot = planted(model, SPAN, SpanSeed())
    train(model, torch.optim.SGD(model.parameters(), lr=0.0), 7, slots=(slot,))
    assert "r_squared" not in slot.measured()
    train(model, torch.optim.SGD(model.parameters(), lr=0.0), 200, slots=(slot,))
    assert slot.measured()["r_squared"] > 0.5
    assert slot.measured()["predicted_loss_decrease"] > 0.0
    assert slot.measured()["weights_moved"] == 1.0


def test_letting_the_seed_in_lowers_the_loss_as_promised(model: Host):
    slot = planted(model, SPAN, SpanSeed())
    train(model, torch.optim.SGD(model.parameters(), lr=0.0), 200, slots=(slot,))
    images, labels = digits()
    model.eval()
    without = nn.functional.cross_entropy(model(images[1437:]), labels[1437:])
    with slot.override_alpha(1.0):
        assert nn.functional.cross_entropy(model(images[1437:]), labels[1437:]) < 0.8 * without


def test_entering_a_stage_shows(model: Host):
    slot = planted(model, SPAN, SpanSeed())
    slot.begin_blending(ramp(1))
    assert slot.stage == SEED_STAGE_BLENDING
