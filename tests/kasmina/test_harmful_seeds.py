"""What a seed may do to a host that it harms: nothing. Each is found out, and says what it did."""

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from esper.kasmina.pace import Pace
from esper.kasmina.pulse import PATIENCE_STEPS
from esper.kasmina.rules.alpha import Ramp
from esper.kasmina.slot import Slot
from esper.leyline.v1.enums_pb2 import ALPHA_CURVE_LINEAR
from tests.kasmina.growing_host import BLOCK, SPAN, Host, ImageSeed, SpanSeed, digits, planted, train

BLEND = Ramp(0, 0, 1.0, 1.0, ALPHA_CURVE_LINEAR)


class Leaky(SpanSeed):
    """Remembers every output that it ever had."""

    def __init__(self) -> None:
        super().__init__()
        self.memories: list[Tensor] = []

    def forward(self, image: Tensor) -> Tensor:
        output = super().forward(image)
        self.memories.append(output.detach())
        return output


class Cached(SpanSeed):
    """Remembers its last output, which is a cache and no leak."""

    def forward(self, image: Tensor) -> Tensor:
        self.memory = super().forward(image)
        return self.memory


class Meddling(ImageSeed):
    """Works in place on what it reads."""

    def forward(self, features: Tensor) -> Tensor:
        return super().forward(features.mul_(100.0))


class Backwards(torch.autograd.Function):
    """The identity, with a gradient of its own making."""

    @staticmethod
    def forward(ctx, values: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return values.clone()

    @staticmethod
    def backward(ctx, gradient: Tensor):
        return gradient * ctx.factor, None


class Poisonous(ImageSeed):
    """Well in its forward pass, not in its backward pass."""

    factor = float("nan")

    def forward(self, features: Tensor) -> Tensor:
        return super().forward(Backwards.apply(features, self.factor))


class Dead(ImageSeed):
    """All zeros, for ever, whatever comes."""

    def forward(self, features: Tensor) -> Tensor:
        return F.relu(super().forward(features) * 0.0 - 1.0)


class Deaf(ImageSeed):
    """Returns something, and learns from nothing."""

    def forward(self, features: Tensor) -> Tensor:
        return super().forward(features).detach() + 0.01


@pytest.fixture
def model() -> Host:
    torch.manual_seed(11)
    return Host()


def optimizer(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), 1e-2)


def live(model: Host, site, seed: nn.Module) -> Slot:
    slot = planted(model, site, seed)
    nn.init.ones_(seed.gain if isinstance(seed, ImageSeed) else seed.outer.bias)
    slot.begin_blending(BLEND)
    return slot


@pytest.mark.parametrize("stage", ["training", "blending"])
def test_a_seed_that_keeps_what_it_computes_is_found_leaking(model: Host, stage: str):
    slot = planted(model, SPAN, Leaky())
    if stage == "blending":
        slot.begin_blending(BLEND)
    train(model, optimizer(model), 100, slots=(slot,))
    assert slot.failed.startswith("leaking: keeps ")
    assert slot.failed.endswith("KiB of every pass")


@pytest.mark.parametrize("stage", ["training", "blending"])
def test_a_seed_that_keeps_only_its_last_output_does_not_leak(model: Host, stage: str):
    slot = planted(model, SPAN, Cached())
    if stage == "blending":
        slot.begin_blending(BLEND)
    train(model, optimizer(model), 100, slots=(slot,))
    assert slot.failed == ""


def test_a_watched_model_can_be_copied(model: Host):
    slot = planted(model, SPAN, Leaky())
    train(model, optimizer(model), 30, slots=(slot,))
    twin = copy.deepcopy(model)
    del twin
    train(model, optimizer(model), 70, slots=(slot,), since=30)
    assert slot.failed.startswith("leaking")


def test_a_seed_that_works_in_place_changes_its_own_copy(model: Host):
    slot = live(model, BLOCK, Meddling())
    images = digits(8)[0]
    with torch.no_grad(), slot.override_alpha(0.0):
        meddled = model.eval()(images)
    slot.remove()
    assert torch.equal(model.eval()(images), meddled)


@pytest.mark.parametrize(("factor", "why"), [(float("nan"), "non_finite"), (1e9, "too_large")])
def test_a_gradient_that_would_ruin_the_host_does_not_reach_it(model: Host, factor: float, why: str):
    seed = Poisonous()
    seed.factor = factor
    slot = live(model, BLOCK, seed)
    slot.hold(0.5)
    images, labels = digits(32)
    F.cross_entropy(model(images), labels).backward()
    found = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert all(bool(torch.isfinite(gradient).all()) for gradient in found)
    assert max(float(gradient.abs().max()) for gradient in found) < 100.0
    assert slot.failed.startswith(f"{why}: its gradient to the host")


@pytest.mark.parametrize("value", [1e30, 1e4])
def test_an_activation_that_no_host_would_make_is_left_out(model: Host, value: float):
    slot = live(model, SPAN, SpanSeed())
    nn.init.constant_(slot.module.outer.bias, value)
    images = digits(8)[0]
    joined = model.eval()(images)
    with slot.override_alpha(0.0):
        assert torch.equal(model(images), joined)
    assert slot.failed.startswith("too_large: would make the activation")


def test_a_host_whose_own_activations_are_not_finite_blames_no_seed(model: Host):
    slot = live(model, SPAN, SpanSeed())
    nn.init.constant_(model.head.bias, torch.inf)
    model(digits(8)[0])
    assert slot.failed == ""


def test_a_seed_that_takes_long_beside_the_host_is_slow_by_its_median():
    pace = Pace()
    for _ in range(7):
        pace._step = 1.0
        pace.stepped(0.1)
    assert pace.slow(4.0, 0.01) == ""
    pace.stepped(0.1)
    assert pace.slow(4.0, 0.01) == "takes 1e+03 ms a step, the host 100 ms"
    assert pace.slow(10.0, 0.01) == ""
    assert pace.slow(4.0, 2.0) == ""


def test_a_step_of_which_the_host_s_time_is_unknown_says_nothing_about_pace():
    pace = Pace()
    for _ in range(20):
        pace._step = 1.0
        pace.stepped(None)
    assert pace.slow(0.0, 0.0) == ""


def cosine(model: Host, bends: Callable[[Tensor], Tensor]) -> float:
    """The cosine that is measured where a seed returns *bends* of its input."""
    seed = nn.Module()
    seed.forward = bends  # type: ignore[method-assign]
    slot = planted(model, BLOCK, seed)
    slot.begin_blending(Ramp(0, 0, 0.5, 0.5, ALPHA_CURVE_LINEAR))
    train(model, torch.optim.SGD(model.parameters(), 0.0), 8, slots=(slot,))
    return slot.measured()["gradient_cosine"]


def test_how_far_seed_and_host_pull_the_same_way_is_measured(model: Host):
    # RESIDUAL, so that what comes through the seed is the host's own gradient times the seed's slope.
    assert cosine(model, lambda features: 2.0 * features) == pytest.approx(1.0)
    torch.manual_seed(11)
    assert cosine(Host(), lambda features: -0.5 * features) == pytest.approx(-1.0)


def test_a_seed_beside_which_nothing_comes_before_has_no_gradient_to_compare(model: Host):
    slot = live(model, SPAN, SpanSeed())
    train(model, optimizer(model), 8, slots=(slot,))
    assert "gradient_cosine" not in slot.measured()


@pytest.mark.parametrize("stage", ["training", "blending"])
@pytest.mark.parametrize("kind", [Dead, Deaf])
def test_a_seed_that_nothing_reaches_is_dead(model: Host, stage: str, kind: type[ImageSeed]):
    slot = planted(model, BLOCK, kind())
    if stage == "blending":
        slot.begin_blending(BLEND)
    train(model, optimizer(model), PATIENCE_STEPS - 1, slots=(slot,))
    assert slot.failed == ""
    train(model, optimizer(model), 6, slots=(slot,), since=PATIENCE_STEPS - 1)
    assert slot.failed == f"dead: no gradient has reached its parameters for {PATIENCE_STEPS} steps"


def test_a_seed_of_which_the_host_asks_nothing_is_not_dead(model: Host):
    slot = live(model, BLOCK, ImageSeed())
    for step in range(2 * PATIENCE_STEPS):
        (0.0 * F.cross_entropy(model(digits(8)[0]), digits(8)[1])).backward()
        slot.step(step + 1)
    assert slot.failed == ""


def test_a_seed_whose_alpha_rests_at_zero_is_not_dead(model: Host):
    slot = planted(model, BLOCK, ImageSeed())
    slot.begin_blending(Ramp(0, 100, 0.0, 1.0, ALPHA_CURVE_LINEAR))
    slot.hold(0.0)
    train(model, optimizer(model), 2 * PATIENCE_STEPS, slots=(slot,))
    assert slot.failed == ""


def test_a_seed_without_parameters_is_not_dead(model: Host):
    seed = nn.Module()
    seed.forward = torch.tanh  # type: ignore[method-assign]
    slot = planted(model, BLOCK, seed)
    train(model, optimizer(model), 2 * PATIENCE_STEPS, slots=(slot,))
    assert slot.failed == ""


def test_numbers_that_the_host_s_precision_cannot_hold_do_not_reach_it(model: Host):
    seed = nn.Module()
    seed.forward = lambda features: features.double() + 1e300  # type: ignore[method-assign]
    slot = planted(model, BLOCK, seed)
    slot.begin_blending(BLEND)
    assert bool(torch.isfinite(model(digits(8)[0])).all())
    assert slot.failed.startswith("non_finite")
