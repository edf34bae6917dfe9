"""A seed that learns from its true effect on the loss: the host does not notice, nor does any other seed."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from esper.kasmina.rules.alpha import Ramp
from esper.kasmina.slot import Slot
from esper.leyline.v1.enums_pb2 import ALPHA_CURVE_LINEAR
from esper.leyline.v1.site_pb2 import Site
from tests.kasmina.growing_host import (
    BLOCK,
    HEAD,
    SPAN,
    Host,
    ImageSeed,
    SpanSeed,
    batches,
    digits,
    planted,
    same,
    weights,
)


def run(model: Host, slots: tuple[Slot, ...], steps: int, *, shadow: bool) -> list[Tensor]:
    """Train the host as its user would; the first slot's seed has the objective if *shadow*."""
    optimizer, found, source = torch.optim.AdamW(model.parameters(), 1e-2), [], batches()
    torch.manual_seed(4)
    for done in range(steps):
        images, labels = next(source)
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.detach())
        for index, slot in enumerate(slots):

            def objective(one: nn.Module, images: Tensor = images, labels: Tensor = labels) -> Tensor:
                return F.cross_entropy(one(images), labels)

            slot.step(done + 1, [], objective if shadow and index == 0 else None)
    gradients = [own.grad for own in model.parameters() if own.grad is not None]
    return [*found, *gradients, *weights(model), torch.rand(3)]


def host() -> Host:
    torch.manual_seed(3)
    return Host()


@pytest.mark.parametrize(("site", "kind"), [(BLOCK, ImageSeed), (SPAN, SpanSeed)], ids=["block", "span"])
def test_the_host_does_not_notice_to_the_bit(site: Site, kind: type[nn.Module]):
    alone = host()
    planted(alone, SPAN, SpanSeed()).remove()
    expected = run(alone, (), 20, shadow=False)
    model, seed = host(), kind()
    slot, born, passes = planted(model, site, seed), weights(seed), []
    model.head.register_forward_hook(lambda *_: passes.append(1))
    assert same(run(model, (slot,), 20, shadow=True), expected)
    assert len(passes) == 20
    assert not same(weights(seed), born)
    measured = slot.measured()
    assert (slot.failed, measured["isolation_violations"], measured["host_comparisons"]) == ("", 0.0, 1.0)
    assert all(own.requires_grad for own in model.parameters())


def test_the_seed_learns_what_lowers_the_loss():
    model = host()
    slot = planted(model, SPAN, SpanSeed())
    run(model, (slot,), 80, shadow=True)
    images, labels = digits(1437)
    model.eval()
    with torch.no_grad():
        without = F.cross_entropy(model(images), labels)
        with slot.override_alpha(1.0):
            joined = F.cross_entropy(model(images), labels)
    assert float(joined) < float(without) - 0.02


def test_other_seeds_do_not_notice_either():
    found = []
    for shadow in (True, False):
        model = host()
        seeds = (SpanSeed(), ImageSeed(), nn.Sequential(nn.Linear(10, 10), nn.Dropout(0.2)))
        slots = tuple(planted(model, site, seed) for site, seed in zip((SPAN, BLOCK, HEAD), seeds, strict=True))
        nn.init.ones_(seeds[1].gain)
        slots[1].begin_blending(Ramp(0, 4, 0.0, 0.5, ALPHA_CURVE_LINEAR))
        host_bits = run(model, slots, 12, shadow=shadow)
        states = [slot.state() for slot in slots[1:]]
        found.append((host_bits, [list(tensors.values()) for tensors, _ in states], [facts for _, facts in states]))
    (host_a, tensors_a, facts_a), (host_b, tensors_b, facts_b) = found
    assert same(host_a, host_b)
    assert all(same(a, b) for a, b in zip(tensors_a, tensors_b, strict=True))
    assert facts_a == facts_b


def test_windows_see_the_training_only():
    seen = []
    for shadow in (True, False):
        model = host()
        growing, dormant = planted(model, BLOCK, ImageSeed()), Slot(HEAD, model)
        dormant.open_window()
        run(model, (growing,), 4, shadow=shadow)
        window = dormant.close_window()
        assert window is not None
        seen.append([window.input, window.gradient])
    assert same(*seen)


def test_a_seed_that_raises_says_so():
    model = host()
    slot = planted(model, SPAN, nn.Linear(3, 3))
    run(model, (slot,), 2, shadow=True)
    assert slot.failed.startswith("raised: RuntimeError")


def test_a_seed_that_learnt_the_loss_is_promising_by_its_direction():
    """Its size is that of what lowers the loss, and not that of the gradient."""
    model = host()
    slot = planted(model, SPAN, SpanSeed())
    run(model, (slot,), 80, shadow=True)
    held_out = slot._living().facts.progress.held_out
    assert held_out.promise().r_squared < 0.0
    assert 0.0 < slot.measured()["r_squared"] < 1.0
    assert slot.measured()["predicted_loss_decrease"] > 0.0
