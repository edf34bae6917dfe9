"""A compiled host has two variants: the bare one while nobody lives in it, and one that seeds can live in."""

import copy
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from esper.api.wrap import survey_of, wrap, wrapped_sites
from esper.kasmina.gatekeeper import keep_gate
from esper.kasmina.glance import Glance
from esper.kasmina.rules.alpha import Ramp
from esper.kasmina.slot import Slot
from esper.leyline.v1.enums_pb2 import ALPHA_CURVE_LINEAR, BLEND_MODE_RESIDUAL
from tests.kasmina.growing_host import Host, ImageSeed, digits, same, weights


class Compilations:
    """A backend that counts what it compiles, and how many pieces of compiled code run."""

    def __init__(self) -> None:
        self.count, self.ran = 0, 0

    def __call__(self, graph: fx.GraphModule, example: list[Tensor]) -> object:
        self.count += 1

        def run(*given: Tensor) -> object:
            self.ran += 1
            return graph.forward(*given)

        return run

    def pieces(self, model: object, images: Tensor) -> int:
        """Return how many pieces *model* runs in."""
        before = self.ran
        model(images)  # type: ignore[operator]
        return self.ran - before


@pytest.fixture
def backend() -> Iterator[Compilations]:
    torch.compiler.reset()
    yield Compilations()
    torch.compiler.reset()


def gated(model: nn.Module, backend: Compilations) -> nn.Module:
    compiled = torch.compile(model, backend=backend)
    keep_gate(model, compiled)  # type: ignore[arg-type]
    return compiled  # type: ignore[return-value]


def epoch(model: nn.Module, optimizer: torch.optim.Optimizer, *slots: Slot) -> list[Tensor]:
    """Train on three batches of which the last is smaller, and evaluate on two."""
    losses: list[Tensor] = []
    for count, rows in enumerate((slice(0, 16), slice(16, 32), slice(32, 39))):
        images, labels = digits(39)
        loss = F.cross_entropy(model.train()(images[rows]), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
        for slot in slots:
            slot.step(count)
    with torch.no_grad():
        return [*losses, *(model.eval()(digits(39)[0][rows]).sum() for rows in (slice(0, 20), slice(20, 33)))]


def slot_in(model: nn.Module) -> Slot:
    slot = Slot(wrapped_sites(model)[0], model)
    slot.shape = survey_of(model).shapes[slot.site.seed_id]
    return slot


def plant(slot: Slot) -> None:
    seed = ImageSeed()
    nn.init.ones_(seed.gain)
    slot.plant(seed, mode=BLEND_MODE_RESIDUAL, learning_rate=lambda: 1e-2, init_seed=1)


def test_nothing_is_compiled_when_seeds_come_blend_and_go_on_any_kind_of_batch(backend: Compilations):
    model = wrap(Host(), ["conv", ("conv", "head")], probe=digits(8)[0], compiled="fast")
    compiled, slot = gated(model, backend), slot_in(model)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    epoch(compiled, optimizer)
    counted = backend.count
    plant(slot)
    epoch(compiled, optimizer, slot)
    slot.begin_blending(Ramp(0, 2, 0.0, 1.0, ALPHA_CURVE_LINEAR))
    epoch(compiled, optimizer, slot)
    slot.begin_shadowing()
    slot.begin_probation()
    epoch(compiled, optimizer, slot)
    assert not slot.failed
    slot.remove()
    epoch(compiled, optimizer)
    assert backend.count == counted > 0


def test_a_host_in_which_seeds_live_from_the_start_is_ready_for_their_end(backend: Compilations):
    model = wrap(Host(), ["conv"], probe=digits(8)[0], compiled="fast")
    compiled, slot = gated(model, backend), slot_in(model)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    plant(slot)
    epoch(compiled, optimizer, slot)
    counted = backend.count
    assert slot.measured()["weights_moved"]
    slot.remove()
    epoch(compiled, optimizer)
    assert backend.count == counted > 0
    assert backend.pieces(compiled.train(), digits(16)[0]) == 1


def test_a_dormant_host_runs_in_one_piece_and_again_when_its_last_seed_has_gone(backend: Compilations):
    model = wrap(Host().eval(), ["conv", ("conv", "head")], probe=digits(8)[0], compiled="fast")
    compiled, slot, images = gated(model, backend), slot_in(model), digits(8)[0]
    compiled(images)
    assert backend.pieces(compiled, images) == 1
    plant(slot)
    assert backend.pieces(compiled, images) > 1
    slot.remove()
    assert backend.pieces(compiled, images) == 1


def test_a_seed_acts_in_the_compiled_host_at_once(backend: Compilations):
    model = wrap(Host().eval(), ["conv"], probe=digits(8)[0], compiled="fast")
    compiled, slot, images = gated(model, backend), slot_in(model), digits(8)[0]
    before = compiled(images)
    plant(slot)
    slot.begin_blending(Ramp(0, 0, 1.0, 1.0, ALPHA_CURVE_LINEAR))
    assert not torch.equal(compiled(images), before)
    assert torch.equal(compiled(images), model(images))
    slot.remove()
    assert torch.equal(compiled(images), before)


class Counting(nn.Module):
    """A host with everything that a second forward pass would move."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.head, self.passes, self.last = nn.Linear(4, 10), 0, torch.zeros(())

    def forward(self, images: Tensor) -> Tensor:
        self.passes += 1
        features = F.dropout(torch.relu(self.norm(self.conv(images))), 0.2, self.training)
        self.last = features.detach().mean()
        return self.head(features.mean((2, 3)))


def test_a_rehearsal_leaves_weights_statistics_attributes_and_random_streams_as_they_were(backend: Compilations):
    def run(model: nn.Module, compiled: nn.Module) -> list[Tensor]:
        torch.manual_seed(1)
        losses = epoch(compiled, torch.optim.AdamW(model.parameters(), 1e-2))
        return [*losses, *weights(model), *model.buffers(), model.last, torch.tensor(model.passes), torch.rand(2)]  # type: ignore[list-item]

    torch.manual_seed(0)
    bare = Counting()
    model = wrap(copy.deepcopy(bare), ["conv"], compiled="fast")
    # passes is an int that changes: after its second value torch compiles for any.
    expected = run(bare, torch.compile(bare, backend=Compilations()))  # type: ignore[arg-type]
    torch.compiler.reset()
    assert same(run(model, gated(model, backend)), expected)


def test_a_gradient_that_was_waiting_and_a_graph_that_was_built_survive_a_rehearsal(backend: Compilations):
    model = wrap(Counting(), ["conv"], compiled="fast")
    compiled = gated(model.eval(), backend)
    images = digits(8)[0]
    first = compiled(images).sum()
    (compiled(images[:5]).sum() + first).backward()
    twice = [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]
    model.zero_grad()
    (model(images[:5]).sum() + model(images).sum()).backward()
    assert same(twice, [parameter.grad for parameter in model.parameters() if parameter.grad is not None])


def test_the_first_look_at_the_sites_is_taken_in_a_rehearsal(backend: Compilations):
    model = wrap(Host(), ["conv"], compiled="fast")
    compiled, slot = gated(model, backend), Slot(wrapped_sites(model)[0], model)
    for _ in range(2):
        slot.shape = None
        glance = Glance(model, [slot])
        before = backend.ran
        compiled(digits(8)[0])
        assert slot.shape is not None
        assert backend.ran > before + 1
        assert backend.pieces(compiled, digits(8)[0]) == 1
        glance.demand()


class WithCache(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(64, 10)

    def forward(self, images: Tensor, cache: object) -> Tensor:
        return self.embed(images.flatten(1)) + cache.seen  # type: ignore[attr-defined]


class Cache:
    seen = 1


def test_a_host_that_was_not_declared_to_be_fast_has_no_gatekeeper(backend: Compilations):
    model = wrap(Host().eval(), ["conv"], probe=digits(8)[0], compiled=True)
    compiled, images = gated(model, backend), digits(8)[0]
    compiled(images)
    assert backend.pieces(compiled, images) > 1


def test_a_host_that_is_given_objects_of_its_own_is_never_rehearsed(backend: Compilations):
    model = wrap(WithCache(), ["embed"], compiled="fast")
    compiled = gated(model, backend)
    before = backend.count
    compiled(digits(4)[0], Cache())
    counted, ran = backend.count, backend.ran
    compiled(digits(4)[0], Cache())
    assert (backend.count, counted > before) == (counted, True)
    assert backend.ran - ran == ran
