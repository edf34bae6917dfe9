"""Seeds in hosts that are trained in all the ways people train: checkpointed, mixed precision, accumulated, frozen."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from esper.kasmina.errors import SiteUnusable
from esper.kasmina.rules.alpha import Ramp
from esper.kasmina.slot import Slot
from esper.kasmina.window import LossScale, unscaled
from esper.leyline.v1.enums_pb2 import ALPHA_CURVE_LINEAR, BLEND_MODE_RESIDUAL
from esper.leyline.v1.site_pb2 import Site, SiteShape
from tests.kasmina.growing_host import BLOCK, SPAN, Host, ImageSeed, SpanSeed, digits, observed, planted, same

BLEND = Ramp(0, 0, 1.0, 1.0, ALPHA_CURVE_LINEAR)


class Checkpointed(Host):
    """Its convolution and normalisation are run again in the backward pass; *reentrant* None: they are not."""

    def __init__(self, reentrant: bool | None) -> None:
        super().__init__()
        self.reentrant = reentrant

    def features(self, images: Tensor) -> Tensor:
        return self.drop(self.act(self.norm(self.conv(images))))

    def forward(self, images: Tensor) -> Tensor:
        images = images.clone().requires_grad_()
        if self.reentrant is None:
            found = self.features(images)
        else:
            found = checkpoint(self.features, images, use_reentrant=self.reentrant)
        return self.head(self.pool(found).flatten(1))


class Blurred(ImageSeed):
    """A seed with dropout that is not zero at birth, so that what it adds can be seen."""

    def __init__(self) -> None:
        super().__init__()
        nn.init.ones_(self.gain)


def scaled(site: Site, model: nn.Module, seed: nn.Module, loss_scale: LossScale = unscaled) -> Slot:
    slot = Slot(site, model, loss_scale)
    slot.plant(
        seed, mode=BLEND_MODE_RESIDUAL, learning_rate=lambda: 1e-2, init_seed=7, shape=observed(model, site).shape
    )
    return slot


def one_step(model: nn.Module, slot: Slot, scale: float = 1.0) -> list[Tensor]:
    """One batch's loss, and the gradients of the host; the seed follows."""
    images, labels = digits(24)
    loss = F.cross_entropy(model(images), labels)
    model.zero_grad()
    (loss * scale).backward()
    gradients = [parameter.grad / scale for parameter in model.parameters() if parameter.grad is not None]
    slot.step(1)
    return [loss.detach(), *gradients]


def fresh(reentrant: bool | None, stage: str) -> tuple[nn.Module, Slot, nn.Module]:
    torch.manual_seed(2)
    model, seed = Checkpointed(reentrant), Blurred()
    # BatchNorm's statistics would be updated by the recomputation, with or without a seed.
    model.norm.eval()
    slot = planted(model, BLOCK, seed)
    if stage == "blending":
        slot.begin_blending(BLEND)
    elif stage == "shadowing":
        slot.begin_shadowing()
    torch.manual_seed(3)
    return model, slot, seed


@pytest.mark.parametrize("stage", ["training", "blending", "shadowing"])
@pytest.mark.parametrize("reentrant", [True, False])
def test_a_checkpointed_segment_is_the_same_to_a_seed_as_a_plain_one(reentrant: bool, stage: str):
    plain, plain_slot, plain_seed = fresh(None, stage)
    model, slot, seed = fresh(reentrant, stage)
    torch.manual_seed(3)
    expected = one_step(plain, plain_slot)
    torch.manual_seed(3)
    found = one_step(model, slot)
    assert same(found, expected)
    assert same([*seed.parameters()], [*plain_seed.parameters()])
    assert slot.measured() == plain_slot.measured()
    assert slot.failed == ""


class Across(Checkpointed):
    """The segment begins after the entry of a span and ends after its exit."""

    def forward(self, images: Tensor) -> Tensor:
        def rest(features: Tensor) -> Tensor:
            return self.head(self.pool(self.act(self.norm(features))).flatten(1))

        return checkpoint(rest, self.conv(images), use_reentrant=self.reentrant)


def test_a_span_into_a_reentrant_segment_is_refused_with_what_to_do():
    slot = Slot(SPAN, model := Across(True))
    slot.open_window()
    F.cross_entropy(model(digits(8)[0]), digits(8)[1]).backward()
    with pytest.raises(SiteUnusable, match=r"checkpointed segment.*use_reentrant=False"):
        slot.close_window()


def test_a_span_into_a_segment_that_is_not_reentrant_grows():
    model = Across(False)
    slot = planted(model, SPAN, SpanSeed())
    slot.begin_blending(BLEND)
    one_step(model, slot)
    assert slot.failed == ""


def test_under_autocast_the_seed_follows_the_activation_and_keeps_its_own_precision():
    model, images = Host(), digits(24)[0]
    slot = Slot(BLOCK, model)
    slot.open_window()
    with torch.autocast("cpu", torch.bfloat16):
        F.cross_entropy(model(images), digits(24)[1]).backward()
    slot.close_window()
    assert slot.shape is not None
    assert slot.shape.dtype == "float32"
    seed = Blurred()
    slot.plant(seed, mode=BLEND_MODE_RESIDUAL, learning_rate=lambda: 1e-2, init_seed=1)
    slot.begin_blending(BLEND)
    seen: list[Tensor] = []
    model.conv.register_forward_hook(lambda _module, _args, output: seen.append(output))
    with torch.autocast("cpu", torch.bfloat16):
        loss = F.cross_entropy(model(images), digits(24)[1])
    loss.backward()
    slot.step(1)
    assert (slot.failed, seen[0].dtype, seed.conv.weight.dtype) == ("", torch.bfloat16, torch.float32)


def test_a_training_seed_under_autocast_leaves_the_host_bit_for_bit_and_learns():
    def run(seed: nn.Module | None) -> list[Tensor]:
        torch.manual_seed(1)
        model = Host()
        slot = None if seed is None else planted(model, BLOCK, seed)
        torch.manual_seed(2)
        with torch.autocast("cpu", torch.bfloat16):
            loss = F.cross_entropy(model(digits(24)[0]), digits(24)[1])
        model.zero_grad()
        loss.backward()
        if slot is not None:
            slot.step(1)
        return [loss.detach(), *(parameter.grad for parameter in model.parameters() if parameter.grad is not None)]

    seed = ImageSeed()
    before = seed.gain.detach().clone()
    alone = run(None)
    assert same(run(seed), alone)
    assert not torch.equal(seed.gain, before)


@pytest.mark.parametrize("stage", ["training", "blending"])
@pytest.mark.parametrize("site", [BLOCK, SPAN], ids=["block", "logits"])
def test_a_scaled_loss_teaches_a_seed_what_the_loss_itself_teaches(site: Site, stage: str):
    def learned(scale: float) -> list[Tensor]:
        torch.manual_seed(4)
        model, seed = Host(), ImageSeed() if site is BLOCK else SpanSeed()
        slot = scaled(site, model, seed, lambda: scale)
        if stage == "blending":
            slot.begin_blending(BLEND)
        torch.manual_seed(5)
        one_step(model, slot, scale)
        return [parameter.detach() for parameter in seed.parameters()]

    # A power of two, as GradScaler's is: dividing by it loses no bit.
    assert same(learned(2.0**10), learned(1.0))


def test_a_step_that_the_scaler_skips_is_skipped_by_the_seed_and_is_not_its_fault():
    scales = [1024.0]
    torch.manual_seed(1)
    model, seed = Host(), Blurred()
    slot = scaled(BLOCK, model, seed, lambda: scales[-1])
    slot.begin_blending(BLEND)
    before = [parameter.detach().clone() for parameter in seed.parameters()]
    F.cross_entropy(model(digits(8)[0]), digits(8)[1]).mul(float("inf")).backward()
    scales.append(512.0)
    slot.step(1)
    assert slot.failed == ""
    assert same([*seed.parameters()], before)


def test_a_gradient_that_is_not_finite_is_the_seeds_fault_when_the_host_stepped():
    model = Host()
    slot = scaled(BLOCK, model, Blurred(), lambda: 1024.0)
    slot.begin_blending(BLEND)
    F.cross_entropy(model(digits(8)[0]), digits(8)[1]).mul(float("inf")).backward()
    slot.step(1)
    assert slot.measured()["nonfinite_batches"] == 1.0


def test_a_torch_scaler_is_asked_for_its_scale():
    model = Host()
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    slot = scaled(BLOCK, model, ImageSeed(), scaler.get_scale)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for step in range(1, 4):
        scaler.scale(F.cross_entropy(model(digits(8)[0]), digits(8)[1])).backward()
        scaler.step(optimizer)
        scaler.update()
        slot.step(step)
    assert (slot.failed, slot.measured()["weights_moved"]) == ("", 1.0)


def test_accumulated_batches_teach_what_one_large_batch_teaches():
    def learned(parts: int) -> list[Tensor]:
        torch.manual_seed(4)
        model = Host()
        model.eval()
        seed = SpanSeed()
        slot = planted(model, SPAN, seed.eval())
        seed.inner[3].p = 0.0
        images, labels = digits(32)
        for rows, targets in zip(images.chunk(parts), labels.chunk(parts), strict=True):
            (F.cross_entropy(model(rows), targets) / parts).backward()
        slot.step(1)
        return [parameter.detach() for parameter in seed.parameters()]

    for one, four in zip(learned(1), learned(4), strict=True):
        torch.testing.assert_close(four, one, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("stage", ["training", "blending", "shadowing", "fossilized"])
def test_looking_at_the_model_moves_nothing_of_a_seed(stage: str):
    torch.manual_seed(6)
    model, seed = Host(), Blurred()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    slot = planted(model, BLOCK, seed)
    if stage != "training":
        slot.begin_blending(BLEND)
    if stage == "shadowing":
        slot.begin_shadowing()
    if stage == "fossilized":
        slot.fossilize(optimizer)
    one_step(model, slot)
    tensors, facts = slot.state()
    model.eval()
    outputs: list[Tensor] = []
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            outputs.append(model(digits(8)[0]))
    model.train()
    after, facts_after = slot.state()
    assert torch.equal(*outputs)
    assert facts == facts_after
    assert same([*tensors.values()], [*after.values()])
    one_step(model, slot)
    assert slot.failed == ""


def test_a_frozen_host_teaches_a_seed_as_long_as_its_activation_has_a_gradient():
    model = Host()
    for parameter in model.conv.parameters():
        parameter.requires_grad_(False)
    seed = SpanSeed()
    slot = planted(model, SPAN, seed)
    one_step(model, slot)
    assert slot.measured()["weights_moved"] == 1.0


def test_shapes_of_a_site_are_those_of_the_canonical_order():
    model = nn.Sequential(nn.GRU(3, 5), nn.Identity())
    slot = Slot(Site(seed_id="s0", label="0", exit_module="0", output=["0"], layout="TBC"), model)
    slot.open_window(0)
    model(torch.ones(7, 2, 3))
    slot.close_window()
    assert slot.shape is not None
    assert isinstance(slot.shape, SiteShape)
    assert list(slot.shape.output_size) == [7, 5]
