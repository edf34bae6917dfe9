"""Every host of the zoo is wrapped, grows a seed beside its training, and is the host again when the seed is gone."""

import pytest
import torch
from torch import Tensor, nn

from esper.api.wrap import survey_of, wrap, wrapped_sites
from esper.karn.builders import build
from esper.karn.candidates import candidates
from esper.kasmina.rules.alpha import Ramp
from esper.kasmina.slot import Slot
from esper.leyline.v1.enums_pb2 import ALPHA_CURVE_LINEAR
from tests.kasmina.growing_host import hooks, same, weights
from tests.kasmina.zoo.hosts import ZOO, Case

STEPS = 4


class Training:
    """A user's own loop over one host of the zoo."""

    def __init__(self, case: Case, wrapped: bool = True) -> None:
        torch.manual_seed(11)
        self.case, self.model = case, case.build()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), 1e-2)
        self.losses: list[Tensor] = []
        self.slot: Slot | None = None
        if wrapped:
            wrap(self.model, case.sites, probe=case.batch(0)[0])
            self.slot = Slot(wrapped_sites(self.model)[0], self.model)
            self.slot.shape = survey_of(self.model).shapes["s0"]

    def plant(self) -> nn.Module:
        slot = self.slot
        assert slot is not None
        assert slot.shape is not None
        offer = next(offer for offer in candidates(slot.site, slot.shape) if offer.parameter_count)
        module = build(offer.blueprint_id, offer.parameters, slot.shape, 5)
        slot.plant(module, mode=offer.blend_mode, learning_rate=lambda: 1e-2, init_seed=5)
        return module

    def run(self, steps: int = STEPS, since: int = 0) -> None:
        for step in range(since, since + steps):
            inputs, targets = self.case.batch(step % 10)
            loss = self.case.loss(self.model(inputs), targets)
            self.losses.append(loss.detach())
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            if self.slot is not None:
                self.slot.step(step + 1)

    def found(self) -> list[Tensor]:
        gradients = [parameter.grad for parameter in self.model.parameters() if parameter.grad is not None]
        return [*self.losses, *gradients, *weights(self.model), torch.rand(3)]


@pytest.fixture(params=ZOO.values(), ids=ZOO)
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


def test_a_growing_seed_learns_and_leaves_its_host_bit_for_bit(case: Case):
    bare = Training(case, wrapped=False)
    bare.run()
    alone = bare.found()
    beside = Training(case)
    before = weights(seed := beside.plant())
    beside.run()
    assert same(beside.found(), alone)
    assert not same(weights(seed), before)
    assert beside.slot is not None
    assert beside.slot.failed == ""
    assert beside.slot.measured()["isolation_violations"] == 0.0
    assert beside.slot.measured()["host_comparisons"] >= 1.0


def test_a_blended_seed_acts_and_a_culled_one_leaves_the_host_as_it_is(case: Case):
    training = Training(case)
    training.plant()
    training.run()
    slot, model, inputs = training.slot, training.model, case.batch(0)[0]
    assert slot is not None
    slot.begin_blending(Ramp(STEPS, 2, 0.0, 1.0, ALPHA_CURVE_LINEAR))
    training.run(since=STEPS)
    assert (slot.failed, slot.alpha) == ("", 1.0)
    assert slot.measured()["host_comparisons"] >= 1.0
    grown = outputs(model, inputs)
    slot.remove()
    twin = case.build()
    twin.load_state_dict(model.state_dict())
    assert hooks(model) == 0
    assert same(outputs(model, inputs), outputs(twin, inputs))
    assert not same(outputs(model, inputs), grown)


def test_a_seed_at_alpha_zero_changes_no_bit_of_what_the_host_computes(case: Case):
    training = Training(case)
    inputs = case.batch(3)[0]
    before = outputs(training.model, inputs)
    training.plant()
    assert training.slot is not None
    training.slot.begin_blending(Ramp(0, 10, 0.0, 1.0, ALPHA_CURVE_LINEAR))
    after = outputs(training.model, inputs)
    assert training.slot.failed == ""
    assert same(after, before)


def outputs(model: nn.Module, inputs: Tensor) -> list[Tensor]:
    """What the model returns in evaluation, its dropout off; with gradients on, so that torch takes no fused path."""
    found = model.eval()(inputs)
    model.train()
    return [part.detach().clone() for part in (found.values() if isinstance(found, dict) else [found])]
