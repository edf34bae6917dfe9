"""A seed whose code reaches the host is found out, however little it changes there."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from esper.kasmina.rules.alpha import Ramp
from esper.kasmina.slot import Slot
from esper.kasmina.witness import NAMED, Witness, told
from esper.leyline.v1.enums_pb2 import ALPHA_CURVE_LINEAR
from tests.kasmina.growing_host import BLOCK, SPAN, Host, ImageSeed, SpanSeed, batches, planted, train

PART = 1e-6


class Leaky(ImageSeed):
    """Does what it is told to the host, when it runs for the *at*-th time."""

    def __init__(self, leak: Callable[[], None], at: int = 1) -> None:
        super().__init__()
        self.leak, self.left = leak, at

    def forward(self, features: Tensor) -> Tensor:
        self.left -= 1
        if self.left == 0:
            self.leak()
        return super().forward(features)


def scaled_gradient(model: Host) -> None:
    model.conv.weight.grad.mul_(1.0 + PART)


def scaled_behind_the_counter(model: Host) -> None:
    model.head.weight.grad.data.mul_(1.0 + PART)


def bent_hook(model: Host) -> None:
    model.conv.weight.register_hook(lambda gradient: gradient * (1.0 + PART))


def bent_when_accumulated(model: Host) -> None:
    model.conv.bias.register_post_accumulate_grad_hook(lambda parameter: parameter.grad.mul_(1.0 + PART))


def bent_activation(model: Host) -> None:
    model.head.register_forward_hook(lambda _module, _args, output: output * (1.0 + PART))


def bent_on_the_way_back(model: Host) -> None:
    model.head.register_full_backward_hook(lambda _module, inner, _outer: tuple(g * (1.0 + PART) for g in inner))


def moved_weight(model: Host) -> None:
    model.head.bias.data[3] += PART


def moved_statistics(model: Host) -> None:
    model.norm.running_mean.mul_(1.0 + PART)


def dropped_gradient(model: Host) -> None:
    model.head.bias.grad = None


LEAKS = {
    scaled_gradient: "its code changed the gradient of conv.weight",
    scaled_behind_the_counter: "its code changed the gradient of head.weight",
    bent_hook: "put a hook on conv.weight",
    bent_when_accumulated: "put a hook on conv.bias",
    bent_activation: "put a hook on head",
    bent_on_the_way_back: "put a hook on head",
    moved_weight: "its code changed head.bias",
    moved_statistics: "its code changed norm.running_mean",
    dropped_gradient: "its code changed the gradient of head.bias",
}


@pytest.fixture
def model() -> Host:
    torch.manual_seed(11)
    return Host()


def trained(model: Host, slot: Slot, steps: int = 3) -> None:
    train(model, torch.optim.AdamW(model.parameters(), 1e-2), steps, slots=(slot,))


@pytest.mark.parametrize("leak", LEAKS, ids=lambda leak: leak.__name__)
def test_a_leak_of_one_part_in_a_million_is_found(model: Host, leak: Callable[[Host], None]):
    slot = planted(model, BLOCK, Leaky(lambda: leak(model)))
    trained(model, slot, 1)
    assert slot.failed == f"leaky: {LEAKS[leak]}"
    assert slot.measured()["isolation_violations"] == 1.0


def test_the_gradient_was_changed_by_just_that_part(model: Host):
    """What the seed above does, measured: the check sees less than a millionth and a bit."""
    images, labels = next(batches())
    F.cross_entropy(model(images), labels).backward()
    witness, before = Witness(model), model.conv.weight.grad.clone()
    scaled_gradient(model)
    part = ((model.conv.weight.grad - before).abs() / before.abs()).max()
    assert 0.0 < float(part) < 1.1 * PART
    assert witness.changed() == ("the gradient of conv.weight",)


@pytest.mark.parametrize("leak", [bent_hook, bent_activation, moved_weight])
def test_a_blended_seed_that_reaches_the_host_is_found_too(model: Host, leak: Callable[[Host], None]):
    slot = planted(model, BLOCK, Leaky(lambda: leak(model)))
    slot.begin_blending(Ramp(0, 0, 1.0, 1.0, ALPHA_CURVE_LINEAR))
    trained(model, slot)
    assert slot.failed == f"leaky: {LEAKS[leak]}"


def test_each_epoch_is_witnessed_once(model: Host):
    slot = planted(model, BLOCK, Leaky(lambda: moved_weight(model), at=9))
    trained(model, slot, 8)
    assert (slot.failed, slot.measured()["host_comparisons"]) == ("", 1.0)
    slot.new_epoch()
    trained(model, slot, 1)
    assert slot.measured()["host_comparisons"] == 2.0
    assert slot.failed == "leaky: its code changed head.bias"


def test_a_hook_is_found_in_every_pass(model: Host):
    slot = planted(model, BLOCK, Leaky(lambda: bent_hook(model), at=5))
    trained(model, slot, 8)
    assert slot.failed == "leaky: put a hook on conv.weight"


def test_a_hook_on_every_module_there_is_is_one_on_the_host(model: Host):
    handles = []
    slot = planted(
        model, BLOCK, Leaky(lambda: handles.append(nn.modules.module.register_module_forward_hook(lambda *_: None)))
    )
    trained(model, slot, 1)
    handles[0].remove()
    assert slot.failed == "leaky: put a hook on every module"


def test_a_seed_s_own_hooks_and_yours_are_nobody_s_leak(model: Host):
    seed = SpanSeed()
    seed.leak = lambda: None  # type: ignore[assignment]
    seed.inner.register_forward_pre_hook(lambda module, _: module[1].register_forward_hook(lambda *_: None) and None)
    slot = planted(model, SPAN, seed)
    model.conv.weight.register_hook(lambda gradient: gradient * 2.0)
    model.head.register_forward_hook(lambda *_: None)
    trained(model, slot)
    assert slot.failed == ""


def test_a_swap_of_bits_within_a_word_is_seen_in_every_kind_of_number():
    for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.bool):
        for size in (3, 20_000):
            host = nn.Module()
            host.register_buffer("own", torch.ones(size, 2).to(dtype).t())
            witness = Witness(host)
            assert witness.changed() == ()
            host.own[1, 2] = 0
            assert witness.changed() == ("own",), (dtype, size)


def test_many_names_are_told_in_short():
    names = tuple(f"n{index}" for index in range(NAMED + 4))
    assert told(names) == "n0, n1, n2 and 4 more"
