"""A kept seed becomes a part of the model and of its optimizer."""

import pytest
import torch
from torch import nn

from esper.kasmina.rules.alpha import Ramp
from esper.kasmina.slot import Slot
from esper.leyline.v1.enums_pb2 import ALPHA_CURVE_LINEAR, SEED_STAGE_FOSSILIZED
from esper.leyline.v1.site_pb2 import Site
from tests.kasmina.growing_host import SPAN, Host, SpanSeed, digits, planted, same, train


def in_probation(model: nn.Module, optimizer: torch.optim.Optimizer, site: Site = SPAN) -> Slot:
    slot = planted(model, site, SpanSeed())
    train(model, optimizer, 3, slots=(slot,))
    slot.begin_blending(Ramp(3, 1, 0.0, 1.0, ALPHA_CURVE_LINEAR))
    train(model, optimizer, 3, slots=(slot,), since=3)
    slot.begin_probation()
    return slot


@pytest.fixture
def model() -> Host:
    torch.manual_seed(2)
    return Host()


def test_fossilizing_changes_no_output_and_makes_the_seed_a_child_of_the_exit(model: Host):
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    slot = in_probation(model, optimizer)
    images = digits(8)[0]
    before = model.eval()(images)
    slot.fossilize(optimizer)
    assert torch.equal(model(images), before)
    assert slot.stage == SEED_STAGE_FOSSILIZED
    assert model.head.esper_s1 is slot.module
    assert "head.esper_s1.outer.weight" in model.state_dict()


def test_the_seeds_moments_migrate_and_the_hosts_stay_bit_for_bit(model: Host):
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, amsgrad=True)
    slot = in_probation(model, optimizer)
    host = list(model.parameters())
    before = [value.clone() for parameter in host for value in optimizer.state[parameter].values()]
    seeds_own, _ = slot.state()
    slot.fossilize(optimizer)
    assert same(before, [value for parameter in host for value in optimizer.state[parameter].values()])
    for index, parameter in enumerate(slot.module.parameters()):
        assert torch.equal(optimizer.state[parameter]["exp_avg_sq"], seeds_own[f"optimizer.{index}.exp_avg_sq"])
        assert optimizer.state[parameter]["step"] == 6.0


@pytest.mark.parametrize(
    "schedule",
    [
        lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 12),
        lambda optimizer: torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.9**step),
        lambda optimizer: torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=20),
    ],
    ids=["cosine", "lambda", "one-cycle"],
)
def test_the_users_optimizer_trains_the_seed_on_and_schedulers_keep_working(model: Host, schedule):
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    scheduler = schedule(optimizer)
    slot = in_probation(model, optimizer)
    slot.fossilize(optimizer)
    before = [parameter.detach().clone() for parameter in slot.module.parameters()]
    for _ in range(14):
        train(model, optimizer, 1, slots=(slot,))
        scheduler.step()
    assert not any(torch.equal(a, b) for a, b in zip(before, slot.module.parameters(), strict=True))


def test_another_kind_of_optimizer_begins_without_moments(model: Host):
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2, momentum=0.9)
    slot = in_probation(model, optimizer)
    slot.fossilize(optimizer)
    train(model, optimizer, 1)
    assert all("momentum_buffer" in optimizer.state[parameter] for parameter in slot.module.parameters())


def test_a_seed_at_a_containers_output_does_not_run_inside_the_container():
    torch.manual_seed(1)
    model = nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(64, 16), nn.ReLU()), nn.Linear(16, 10))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    site = Site(seed_id="s0", label="1", exit_module="1")
    slot = planted(model, site, nn.Linear(16, 16))
    slot.hold(1.0)
    slot.begin_probation()
    images = digits(8)[0]
    before = model(images)
    slot.fossilize(optimizer)
    assert torch.equal(model(images), before)
    assert "1.1.esper_s0.weight" in model.state_dict()


def test_a_fossil_can_still_be_switched_off_to_see_what_it_is_worth(model: Host):
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    slot = in_probation(model, optimizer)
    slot.fossilize(optimizer)
    images = digits(8)[0]
    grown = model.eval()(images)
    with slot.override_alpha(0.0):
        assert not torch.equal(model(images), grown)
    assert torch.equal(model(images), grown)
