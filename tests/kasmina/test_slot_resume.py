"""A slot that was saved goes on, in another process's model, to the same bits."""

import copy
import json

import pytest
import torch
from torch import Tensor

from esper.kasmina.errors import SeedStateInvalid
from esper.kasmina.rules.alpha import Ramp
from esper.kasmina.slot import Slot
from esper.leyline.v1.enums_pb2 import ALPHA_CURVE_COSINE, SEED_STAGE_TRAINING
from tests.kasmina.growing_host import SPAN, Host, SpanSeed, batches, observed, planted, same, train, weights

STAGES = ["training", "blending", "shadowing", "probation", "fossilized"]


def grow(model: Host, optimizer: torch.optim.Optimizer, stage: str) -> Slot:
    slot = planted(model, SPAN, SpanSeed())
    train(model, optimizer, 17, slots=(slot,))
    if stage != "training":
        slot.begin_blending(Ramp(17, 10, 0.0, 0.7, ALPHA_CURVE_COSINE))
        train(model, optimizer, 4, slots=(slot,), since=17)
    if stage == "shadowing":
        slot.begin_shadowing()
    if stage in ("probation", "fossilized"):
        slot.begin_probation()
    if stage == "fossilized":
        slot.fossilize(optimizer)
    slot.new_epoch()
    train(model, optimizer, 2, slots=(slot,), since=21)
    return slot


def go_on(model: Host, optimizer: torch.optim.Optimizer, slot: Slot) -> list[Tensor]:
    torch.manual_seed(9)
    train(model, optimizer, 12, slots=(slot,), since=23, data=batches(16))
    tensors, facts = slot.state()
    measured = torch.tensor([slot.measured()[name] for name in sorted(slot.measured())])
    assert facts["steps_done"] == (35 if slot.module is not getattr(model.head, "esper_s1", None) else 21)
    return [*weights(model), *tensors.values(), measured]


@pytest.mark.parametrize("stage", STAGES)
def test_a_resumed_slot_goes_on_to_the_same_bits(stage: str):
    torch.manual_seed(0)
    model = Host()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    slot = grow(model, optimizer, stage)
    tensors, facts = slot.state()
    saved = json.loads(json.dumps(facts, allow_nan=False))
    hosts_own = {name: value.clone() for name, value in model.state_dict().items()}
    optimizers_own = copy.deepcopy(optimizer.state_dict())
    unkilled = go_on(model, optimizer, slot)

    torch.manual_seed(1)
    again = Host()
    its_optimizer = torch.optim.AdamW(again.parameters(), lr=1e-2)
    resumed = Slot(SPAN, again)
    resumed.load_state(tensors, saved, module=SpanSeed(), learning_rate=lambda: 1e-2, optimizer=its_optimizer)
    again.load_state_dict(hosts_own)
    its_optimizer.load_state_dict(optimizers_own)
    assert same(unkilled, go_on(again, its_optimizer, resumed))


def test_an_empty_slot_remembers_the_shape_that_was_seen():
    model = Host()
    slot = observed(model, SPAN)
    tensors, facts = slot.state()
    resumed = Slot(SPAN, model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    resumed.load_state(tensors, facts, module=None, learning_rate=None, optimizer=optimizer)
    assert resumed.shape == slot.shape
    assert resumed.shape is not None
    assert list(resumed.shape.output_size) == [10]


def test_tensors_of_another_module_are_refused_and_leave_the_slot_empty():
    model = Host()
    tensors, facts = planted(model, SPAN, SpanSeed()).state()
    resumed = Slot(SPAN, Host())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(SeedStateInvalid, match="s1 does not fit"):
        resumed.load_state(tensors, facts, module=SpanSeed(8), learning_rate=None, optimizer=optimizer)
    assert resumed.stage != SEED_STAGE_TRAINING
