"""While a seed is TRAINING, the host does not notice: bit for bit."""

import pytest
import torch
from torch import Tensor, nn

from esper.kasmina.slot import Slot
from esper.leyline.v1.site_pb2 import Site
from tests.kasmina.growing_host import (
    BLOCK,
    SPAN,
    Host,
    ImageSeed,
    SpanSeed,
    hooks,
    observed,
    planted,
    same,
    train,
    weights,
)


def run(site: Site | None, seed: nn.Module | None, steps: int = 50) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Train a host, alone or with *seed* growing in it; return all outputs, the last gradients and the weights."""
    torch.manual_seed(3)
    model = Host()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    slot = None if site is None or seed is None else planted(model, site, seed)
    if slot is None:
        observed(model, SPAN)
    torch.manual_seed(4)
    outputs: list[Tensor] = []
    train(model, optimizer, steps, slots=() if slot is None else (slot,), seen=lambda y: outputs.append(y.detach()))
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    return outputs, gradients, [*weights(model), torch.rand(3)]


@pytest.mark.parametrize(("site", "seed"), [(BLOCK, ImageSeed()), (SPAN, SpanSeed())], ids=["block", "span"])
def test_a_training_seed_moves_and_leaves_the_host_bit_for_bit(site: Site, seed: nn.Module):
    before = weights(seed)
    alone = run(None, None)
    beside = run(site, seed)
    assert all(same(left, right) for left, right in zip(alone, beside, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(before, weights(seed), strict=True))


def test_a_wrapped_slot_without_a_seed_has_no_hook_and_changes_nothing():
    model = Host()
    before = list(model.state_dict())
    Slot(SPAN, model)
    assert hooks(model) == 0
    assert list(model.state_dict()) == before


def test_a_window_moves_no_random_stream_and_leaves_no_hook():
    model = Host()
    slot = Slot(BLOCK, model)
    torch.manual_seed(1)
    slot.open_window()
    watched = model(torch.ones(4, 1, 8, 8))
    assert slot.close_window() is None
    torch.manual_seed(1)
    assert torch.equal(watched, Host.forward(model, torch.ones(4, 1, 8, 8)))
    assert hooks(model) == 0


def test_the_output_of_a_training_site_is_the_very_same_tensor():
    model = Host()
    slot = planted(model, BLOCK, ImageSeed())
    seen: list[Tensor] = []
    first = model.conv.register_forward_hook(lambda _module, _inputs, output: seen.append(output), prepend=True)
    last = model.conv.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    model(torch.ones(4, 1, 8, 8))
    first.remove()
    last.remove()
    assert seen[0] is seen[1]
    assert slot.alpha == 0.0


def test_a_healthy_seed_reports_no_isolation_violation():
    model = Host()
    slot = planted(model, SPAN, SpanSeed())
    train(model, torch.optim.SGD(model.parameters(), lr=0.1), 3, slots=(slot,))
    assert slot.measured()["isolation_violations"] == 0.0


def test_a_seed_that_hides_a_host_weight_is_caught_and_the_weight_gets_no_gradient():
    model = Host()
    leaky = SpanSeed()
    # Past nn.Module's registration, so that comparing parameters finds nothing.
    leaky.__dict__["stolen"] = model.head
    leaky.forward = lambda image: leaky.outer(leaky.inner(image)) + leaky.__dict__["stolen"].weight.sum()  # type: ignore[method-assign]
    slot = planted(model, SPAN, leaky)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    torch.manual_seed(0)
    train(model, optimizer, 1)
    before = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    slot.step(1)
    assert same(before, [p.grad for p in model.parameters() if p.grad is not None])
    assert slot.measured()["isolation_violations"] > 0.0


def test_a_seed_that_shares_a_host_parameter_is_caught_at_planting():
    model = Host()
    sharing = SpanSeed()
    sharing.inner.append(model.drop)
    sharing.extra = model.head.bias
    assert planted(model, SPAN, sharing).measured()["isolation_violations"] == 1.0
