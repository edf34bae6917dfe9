"""Several seeds at one place: each learns what those before it leave."""

from collections import defaultdict

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from esper.kasmina.slot import Slot
from esper.leyline.v1.enums_pb2 import BLEND_MODE_RESIDUAL
from esper.leyline.v1.site_pb2 import Site
from tests.kasmina.growing_host import Host, SpanSeed, batches, digits, observed

FIRST = Site(seed_id="s1", label="conv -> head", entry_module="conv", exit_module="head")
SECOND = Site(seed_id="s2", label="again", entry_module="conv", exit_module="head")


def two(*, boosting: bool) -> tuple[Host, list[Slot]]:
    """A host that stands still, and two seeds at its logits that have learned side by side for 200 steps."""
    torch.manual_seed(3)
    model, slots = Host(), list[Slot]()
    for number, site in enumerate((FIRST, SECOND)):
        slot = observed(model, site)
        slot.plant(SpanSeed(), mode=BLEND_MODE_RESIDUAL, learning_rate=lambda: 1e-2, init_seed=number)
        slots.append(slot)
    source = batches()
    for step in range(200):
        images, labels = next(source)
        F.cross_entropy(model(images), labels).backward()
        claims: dict[tuple[str, ...], list[Tensor]] = defaultdict(list)
        for slot in slots:
            slot.step(step + 1, claims[slot.place] if boosting else None)
    return model, slots


def test_the_second_of_two_seeds_learns_what_the_first_leaves():
    _, slots = two(boosting=True)
    first, second = (slot.measured()["r_squared"] for slot in slots)
    assert first > 0.5
    assert second < 0.5 * first
    images = digits(256)[0]
    with torch.no_grad():
        outputs = [slot.module.eval()(images) for slot in slots]
    assert outputs[1].square().mean() < 0.5 * outputs[0].square().mean()


def test_without_that_both_learn_the_same():
    _, slots = two(boosting=False)
    first, second = (slot.measured()["r_squared"] for slot in slots)
    assert second == pytest.approx(first, abs=0.1)


def test_the_first_seed_does_not_notice_the_second():
    together, alone = (two(boosting=boosting)[1][0].state()[0] for boosting in (True, False))
    assert all(torch.equal(together[name], alone[name]) for name in alone)


def test_a_seed_that_came_later_is_not_told_of_lessons_that_it_has_not_had():
    torch.manual_seed(3)
    model = Host()
    slot = observed(model, FIRST)
    slot.plant(SpanSeed(), mode=BLEND_MODE_RESIDUAL, learning_rate=lambda: 1e-2, init_seed=0)
    images, labels = digits(8)
    F.cross_entropy(model(images), labels).backward()
    claims = [torch.zeros(4, 10), torch.zeros(4, 10)]
    slot.step(1, claims)
    assert [claim.shape for claim in claims] == [(8, 10)]
    assert slot.failed == ""
