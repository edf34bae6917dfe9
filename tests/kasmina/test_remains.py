"""After a cull there is nothing left of a seed, at whatever stage it went, and G5 would know."""

import gc
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from esper.kasmina.rules.alpha import Ramp
from esper.kasmina.slot import Slot
from esper.leyline.v1.enums_pb2 import ALPHA_CURVE_LINEAR
from tests.kasmina.growing_host import BLOCK, SPAN, Host, ImageSeed, SpanSeed, hooks, observed, train

STAGES = ("training", "blending", "shadowing", "probationary")
SITES = {"block": (BLOCK, ImageSeed), "span": (SPAN, lambda: SpanSeed(256))}


@pytest.fixture
def without_collector() -> Iterator[None]:
    """Memory is free because nobody holds it, not because somebody swept."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def grown(slot: Slot, stage: str) -> Slot:
    """Let the seed in *slot* live until *stage*, some steps into it."""
    model = slot._model
    optimizer = model.optimizer
    for done, name in enumerate(STAGES[: STAGES.index(stage) + 1]):
        match name:
            case "blending":
                slot.begin_blending(Ramp(9 * done, 3, 0.0, 1.0, ALPHA_CURVE_LINEAR))
            case "shadowing":
                slot.begin_shadowing()
            case "probationary":
                slot.begin_probation()
            case _:
                slot.plant(SITES[model.where][1](), mode=model.mode, learning_rate=None, init_seed=1)
        train(model, optimizer, 9, slots=(slot,), since=9 * done)
    return slot


@pytest.fixture(params=["span", pytest.param("block", marks=pytest.mark.slow)])
def model(request: pytest.FixtureRequest) -> Host:
    torch.manual_seed(2)
    model = Host()
    model.where, model.mode = request.param, 2
    model.optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    return model


def live_bytes() -> int:
    """The memory of every tensor that anybody holds, each storage once."""
    # Tensors of another type stand for ones that do not exist: what compiling has left behind.
    held = [thing for thing in gc.get_objects() if type(thing) in (Tensor, nn.Parameter)]
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in held}
    return sum(storages.values())


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.usefixtures("without_collector")
def test_nothing_of_a_culled_seed_is_left(model: Host, stage: str):
    slot = observed(model, SITES[model.where][0])
    train(model, model.optimizer, 9)
    before = live_bytes()
    grown(slot, stage)
    assert live_bytes() > before
    slot.remove()
    assert slot._remains is not None
    assert slot._remains._alive() == 0
    assert set(slot.leftovers(model.optimizer).values()) == {0.0}
    assert live_bytes() == pytest.approx(before, rel=0.01)
    assert hooks(model) == 0


def test_what_somebody_still_holds_is_found(model: Host):
    slot = grown(observed(model, SITES[model.where][0]), "blending")
    kept = max(slot.module.parameters(), key=Tensor.numel)
    moments = sum(value.numel() for state in slot._living().seed.optimizer.state.values() for value in state.values())
    everything = sum(own.numel() for own in slot.module.parameters()) + moments
    slot.remove()
    found = slot.leftovers(model.optimizer)
    assert found["memory_left"] == pytest.approx(kept.numel() / everything, rel=0.05)
    assert found["modules_left"] == found["hooks_left"] == found["optimizer_parameters_left"] == 0.0
    del kept
    assert slot.leftovers(model.optimizer)["memory_left"] == 0.0


def test_what_only_refers_to_itself_is_not_left(model: Host):
    slot = grown(observed(model, SITES[model.where][0]), "training")
    slot.module.itself = [slot.module]
    slot.remove()
    assert slot.leftovers(model.optimizer)["memory_left"] == 0.0


def test_a_slot_in_which_nothing_lived_has_nothing_left(model: Host):
    assert set(Slot(BLOCK, model).leftovers(model.optimizer).values()) == {0.0}
