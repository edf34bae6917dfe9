"""A host that torch.compile compiled: what grows in it never recompiles it, or it is refused by name."""

import copy
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from esper.api.wrap import survey_of, wrap, wrapped_sites
from esper.kasmina.doorway import close
from esper.kasmina.errors import CompiledHost, ModelRefused
from esper.kasmina.glance import Glance
from esper.kasmina.rules.alpha import Ramp
from esper.kasmina.slot import Slot
from esper.leyline.v1.enums_pb2 import ALPHA_CURVE_LINEAR, BLEND_MODE_RESIDUAL
from tests.kasmina.growing_host import Host, ImageSeed, SpanSeed, batches, digits, hooks, same, weights
from tests.kasmina.zoo.hosts import SmallTransformer, rows


class Compilations:
    """A backend that counts what it is asked to compile, and runs it as it is."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, graph: fx.GraphModule, example: list[Tensor]) -> object:
        self.count += 1
        return graph.forward


@pytest.fixture
def backend() -> Iterator[Compilations]:
    torch.compiler.reset()
    yield Compilations()
    torch.compiler.reset()


def step(model: object, optimizer: torch.optim.Optimizer, batch: tuple[Tensor, Tensor], *slots: Slot) -> Tensor:
    loss = F.cross_entropy(model(batch[0]), batch[1])  # type: ignore[operator]
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    for slot in slots:
        slot.step(1)
    return loss.detach()


def slots_of(model: nn.Module) -> list[Slot]:
    slots = [Slot(site, model) for site in wrapped_sites(model)]
    for slot in slots:
        slot.shape = survey_of(model).shapes[slot.site.seed_id]
    return slots


def test_a_whole_life_in_a_compiled_host_recompiles_nothing(backend: Compilations):
    torch.manual_seed(0)
    model = wrap(Host(), ["conv", ("conv", "head")], probe=digits(8)[0], compiled=True)
    compiled = torch.compile(model, backend=backend)
    optimizer, source = torch.optim.AdamW(model.parameters(), 1e-2), batches()
    conv, span = slots_of(model)
    for _ in range(2):
        step(compiled, optimizer, next(source))
    counted = backend.count
    assert counted > 0
    seeds = ImageSeed(), SpanSeed()
    before = weights(seeds[0]) + weights(seeds[1])
    conv.open_window()
    step(compiled, optimizer, next(source))
    window = conv.close_window()
    assert window is not None
    assert window.samples == 32
    for slot, seed in zip((conv, span), seeds, strict=True):
        slot.plant(seed, mode=BLEND_MODE_RESIDUAL, learning_rate=lambda: 1e-2, init_seed=1)
    step(compiled, optimizer, next(source), conv, span)
    assert not any(torch.equal(a, b) for a, b in zip(before, weights(seeds[0]) + weights(seeds[1]), strict=True))
    conv.begin_blending(Ramp(0, 4, 0.0, 1.0, ALPHA_CURVE_LINEAR))
    for _ in range(5):
        step(compiled, optimizer, next(source), conv, span)
    conv.begin_shadowing()
    step(compiled, optimizer, next(source), conv, span)
    conv.begin_probation()
    step(compiled, optimizer, next(source), conv, span)
    conv.fossilize(optimizer)
    span.remove()
    step(compiled, optimizer, next(source), conv, span)
    assert (conv.failed, span.failed) == ("", "")
    assert backend.count == counted


def test_a_blended_seed_acts_in_the_compiled_host(backend: Compilations):
    model = wrap(Host().eval(), ["conv"], probe=digits(8)[0], compiled=True)
    compiled = torch.compile(model, backend=backend)
    images = digits(8)[0]
    before = compiled(images)
    (slot,) = slots_of(model)
    seed = ImageSeed()
    nn.init.ones_(seed.gain)
    slot.plant(seed, mode=BLEND_MODE_RESIDUAL, learning_rate=None, init_seed=1)
    slot.begin_blending(Ramp(0, 0, 1.0, 1.0, ALPHA_CURVE_LINEAR))
    assert not torch.equal(compiled(images), before)
    assert torch.equal(compiled(images), model(images))
    slot.remove()
    assert torch.equal(compiled(images), before)


@pytest.mark.parametrize("planted", [False, True], ids=["dormant", "training"])
def test_dormant_and_training_leave_the_compiled_host_bit_for_bit(backend: Compilations, planted: bool):
    def run(grows: bool) -> list[Tensor]:
        torch.manual_seed(0)
        model = SmallTransformer()
        wrap(model, ["encoder.layers.0.linear2", ("embed", "head")], probe=rows(0)[0], compiled=True)
        compiled = torch.compile(model, backend=backend)
        optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
        slots = slots_of(model) if grows else []
        for slot in slots:
            assert slot.shape is not None
            into, out = slot.shape.input_size[-1], slot.shape.output_size[-1]
            seed = nn.Linear(into, out) if slot.shape.input_kind == slot.shape.output_kind else Mean(into, out)
            slot.plant(seed, mode=BLEND_MODE_RESIDUAL, learning_rate=None, init_seed=1)
        torch.manual_seed(1)
        losses = [step(compiled, optimizer, rows(index), *slots) for index in range(4)]
        assert all(slot.failed == "" and slot.measured()["weights_moved"] for slot in slots)
        return [*losses, *weights(model), torch.rand(2)]

    assert same(run(grows=planted), run(grows=False))


class Mean(nn.Module):
    def __init__(self, into: int, out: int) -> None:
        super().__init__()
        self.map = nn.Linear(into, out)

    def forward(self, sequence: Tensor) -> Tensor:
        return self.map(sequence.mean(1))


def test_a_host_compiled_in_place_is_refused_unless_its_sites_were_declared(backend: Compilations):
    model = Host()
    model.conv.compile(backend=backend)
    with pytest.raises(CompiledHost, match="conv is compiled, and its sites were not declared"):
        wrap(model, ["conv"])
    wrap(model, ["conv"], compiled=True)


def test_a_host_that_is_compiled_with_hooks_in_it_is_found_out_at_the_first_step(backend: Compilations):
    model = wrap(Host(), ["conv"])
    glance = Glance(model, [Slot(wrapped_sites(model)[0], model)])
    step(torch.compile(model, backend=backend), torch.optim.SGD(model.parameters(), 0.1), next(batches()))
    with pytest.raises(CompiledHost, match=r"esper.wrap\(model, sites=..., compiled=True\) before torch.compile"):
        glance.demand()


def test_a_host_compiled_for_one_graph_only_says_that_sites_are_breaks(backend: Compilations):
    compiled = torch.compile(wrap(Host(), ["conv"], compiled=True), backend=backend, fullgraph=True)
    with pytest.raises(torch._dynamo.exc.Unsupported, match="compiled=True"):
        compiled(digits(4)[0])


def test_what_is_wrapped_already_compiled_is_told_to_wrap_first():
    with pytest.raises(ModelRefused, match=r"OptimizedModule cannot be wrapped: wrap the model before torch.compile"):
        wrap(torch.compile(Host()), ["conv"])


def test_a_copy_of_a_declared_host_has_doorways_of_its_own():
    model = wrap(Host(), ["conv"], probe=digits(4)[0], compiled=True)
    twin = copy.deepcopy(model)
    (slot,) = slots_of(twin)
    seed = ImageSeed()
    nn.init.ones_(seed.gain)
    slot.plant(seed, mode=BLEND_MODE_RESIDUAL, learning_rate=None, init_seed=1)
    slot.begin_blending(Ramp(0, 0, 1.0, 1.0, ALPHA_CURVE_LINEAR))
    images = digits(4)[0]
    assert not torch.equal(twin.eval()(images), model.eval()(images))


def test_closing_the_doorways_takes_every_hook_away():
    model = wrap(Host(), ["conv", ("conv", "head")], compiled=True)
    assert hooks(model) == 3
    close(model)
    assert hooks(model) == 0
