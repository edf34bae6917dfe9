"""What every blueprint promises, whatever the site. A sample of the families is tried at once, the whole when asked."""

from collections.abc import Iterable
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.fx import symbolic_trace
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from esper.karn.builders import build
from esper.karn.candidates import candidates
from esper.karn.catalogue import CATALOGUE, GATED_FEEDFORWARD, traits
from esper.karn.counting import cost
from esper.leyline.canonical import sha256_hex
from esper.leyline.v1.policy_pb2 import Candidate
from esper.leyline.v1.site_pb2 import Site, SiteShape
from esper.tezzeret.exporting import export_module
from tests.karn.sites import (
    GROWABLE,
    contribution,
    inputs,
    kept_shapes,
    offer_of,
    offered,
    seed_module,
    shape,
    span_shapes,
)

TYPICAL = (shape((16,)), shape((6, 16)), shape((16, 8, 8)))
SPANS = (shape((16,), (26,)), shape((8, 6), (4, 12)), shape((9, 6), (5,)), shape((3, 9, 8), (8, 4, 4)))
SEEN = [*TYPICAL, *SPANS, shape((1, 8, 8), (10,))]
# Where every declared parameter shows: enough positions for the longest blocks and the deepest pyramids.
LARGE = (shape((24,)), shape((320, 24)), shape((24, 33, 20)))

# One or two of each family; the others are `slow`.
SAMPLE = frozenset(
    {
        *("BP001", "BP002", "BP003", "BP006", "BP009", "BP010", "BP014", "BP015", "BP016", "BP018", "BP021", "BP023"),
        *("BP027", "BP030", "BP034", "BP036", "BP041", "BP-ATTN-STD", "BP-CAP-FUSE-HFFN", "BP-LOAD-BAL-EMA"),
        *("BP-PROJ-LoRA-64", "BP-PROJ-IA3", "BP-MON-ACT-STATS"),
    }
)
# To export takes longest.
EXPORTED = frozenset({"BP006", "BP009", "BP018", "BP021", "BP027", "BP036", "BP-ATTN-STD", "BP-LOAD-BAL-EMA"})
any_shape = st.one_of(kept_shapes, span_shapes())


def shapes_for(blueprint_id: str) -> st.SearchStrategy[SiteShape]:
    """Sites of the kinds that the blueprint knows, spans among them if it leads over one."""
    row = CATALOGUE[blueprint_id]
    of_any = any_shape if row.spans else kept_shapes
    return of_any.filter(lambda where: {where.input_kind, where.output_kind} <= set(row.kinds))


def sampled(cases: Iterable[tuple[str, Any]], sample: frozenset[str] = SAMPLE) -> list[Any]:
    """Mark what is not of the sample as slow."""
    return [pytest.param(*case, marks=() if case[0] in sample else pytest.mark.slow) for case in cases]


def each_blueprint(sample: frozenset[str] = SAMPLE) -> list[Any]:
    return [pytest.param(name, marks=() if name in sample else pytest.mark.slow) for name in GROWABLE]


def leave_birth(module: nn.Module) -> None:
    """Put numbers where zeros are, each another, so that no map is blind to its input."""
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for own in module.parameters():
            if not own.any():
                own.copy_(0.5 + torch.rand(own.shape, generator=generator))


def seeded(module: nn.Module, features: Tensor) -> Tensor:
    torch.manual_seed(0)
    return module(features)


@pytest.mark.parametrize("where", SEEN, ids=str)
def test_at_birth_nothing_changes_and_the_shape_is_the_sites(where: SiteShape):
    for offer in offered(where):
        check_birth(offer, where, 3)
        check_birth(offer, where, 1)


@settings(max_examples=30, deadline=None)
@given(kept_shapes, st.integers(1, 9))
def test_at_an_output_what_is_offered_takes_images_and_sequences_of_any_extent(where: SiteShape, extent: int):
    sizes = list(where.input_size)
    channels = -1 if len(sizes) < 3 else 0
    other = shape(tuple(size if at == channels % len(sizes) else extent for at, size in enumerate(sizes)))
    for offer in candidates(Site(seed_id="s0", exit_module="layer"), where):
        assert seed_module(offer, where)(inputs(other)).shape == (3, *other.output_size)


@pytest.mark.parametrize("blueprint_id", each_blueprint())
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(data=st.data(), batch=st.integers(2, 4))
def test_at_birth_nothing_changes_at_a_site_of_any_size(blueprint_id: str, data: st.DataObject, batch: int):
    where = data.draw(shapes_for(blueprint_id))
    offer = offer_of(blueprint_id, where)
    # A site that is too small for it: to refuse is right.
    if offer is not None:
        check_birth(offer, where, batch)


def check_birth(offer: Candidate, where: SiteShape, batch: int) -> None:
    module, features = seed_module(offer, where), inputs(where, batch)
    # Dropout itself changes what flows in training; torch normalises no batch of one number per channel.
    if offer.blueprint_id == "BP004" or (offer.blueprint_id == "BP006" and batch == 1):
        module.eval()
    output = module(features)
    assert output.shape == (batch, *where.output_size), offer.blueprint_id
    assert not contribution(offer, features, output).any(), offer.blueprint_id


@pytest.mark.parametrize("where", SEEN, ids=str)
def test_costs_are_what_the_formulas_say(where: SiteShape):
    for offer in offered(where):
        check_cost(offer, where)


@pytest.mark.parametrize("blueprint_id", each_blueprint())
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(data=st.data())
def test_costs_are_what_the_formulas_say_for_any_size_and_parameters(blueprint_id: str, data: st.DataObject):
    where = data.draw(shapes_for(blueprint_id))
    allowed = CATALOGUE[blueprint_id].allowed_parameters
    parameters = {
        name: float(data.draw(st.integers(int(bounds.min_value), min(32, int(bounds.max_value)))))
        if bounds.integer
        else data.draw(st.floats(bounds.min_value, bounds.max_value))
        for name, bounds in allowed.items()
    }
    offer = offer_of(blueprint_id, where, **parameters)
    if offer is not None:
        check_cost(offer, where)


def check_cost(offer: Candidate, where: SiteShape) -> None:
    """Parameters to the number; operations of one sample more within 2 %, where channels are not degenerate."""
    module, formula = seed_module(offer, where).eval(), cost(offer.blueprint_id, offer.parameters, where)
    built = sum(parameter.numel() for parameter in module.parameters())
    assert built == formula.parameters == offer.parameter_count, offer.blueprint_id
    counted = (_flops(module, inputs(where, 4)) - _flops(module, inputs(where, 2))) / 2
    channels = where.input_size[0] if len(where.input_size) == 3 else where.input_size[-1]
    if channels > 1:
        assert counted == pytest.approx(formula.flops, rel=0.02), (offer, where)


def _flops(module: nn.Module, features: Tensor) -> int:
    # The fused form of attention is not counted on the CPU; its parts are.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        module(features)
    return counter.get_total_flops()


@settings(max_examples=6, deadline=None)
@given(any_shape, st.integers(0, 2**64 - 1))
def test_first_values_follow_from_the_seed_alone_and_global_randomness_is_untouched(where: SiteShape, init_seed: int):
    before = torch.get_rng_state()
    for offer in offered(where):
        first, again = (seed_module(offer, where, init_seed).state_dict() for _ in range(2))
        assert all(torch.equal(first[name], again[name]) for name in first), offer.blueprint_id
        assert all(torch.isfinite(tensor).all() for tensor in first.values()), offer.blueprint_id
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("where", SEEN, ids=str)
def test_gradient_reaches_every_parameter_within_two_steps(where: SiteShape):
    for offer in offered(where):
        module, reached = seed_module(offer, where), set[str]()
        if not list(module.parameters()):
            continue
        optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
        for step in range(2):
            optimizer.zero_grad()
            (module(inputs(where, 8, step)) - 1.0).square().mean().backward()
            gradients = {name: own.grad for name, own in module.named_parameters() if own.grad is not None}
            assert all(torch.isfinite(gradient).all() for gradient in gradients.values()), offer.blueprint_id
            reached |= {name for name, gradient in gradients.items() if gradient.any()}
            optimizer.step()
        assert reached == {name for name, _ in module.named_parameters()}, offer.blueprint_id


@pytest.mark.parametrize("where", SEEN, ids=str)
def test_no_two_blueprints_are_the_same_module(where: SiteShape):
    prints = {offer.blueprint_id: fingerprint(offer, where) for offer in offered(where)}
    assert [name for name, found in prints.items() if list(prints.values()).count(found) > 1] == []


def fingerprint(offer: Candidate, where: SiteShape) -> str:
    """A digest of the traced operations and of the names and shapes of what is kept."""
    module = seed_module(offer, where)
    kept = sorted((name, tuple(own.shape)) for name, own in module.state_dict().items())
    layers = [(type(layer).__name__, layer.extra_repr()) for layer in module.modules() if not list(layer.children())]
    return sha256_hex(repr((kept, layers, symbolic_trace(module).code)).encode())


DECLARED = [
    (blueprint_id, name, where)
    for blueprint_id in GROWABLE
    for name in sorted(CATALOGUE[blueprint_id].allowed_parameters)
    for where in LARGE
    if where.input_kind in CATALOGUE[blueprint_id].kinds
]


@pytest.mark.parametrize(("blueprint_id", "name", "where"), sampled(DECLARED, SAMPLE - {"BP-ATTN-STD"}))
def test_every_declared_parameter_is_live(blueprint_id: str, name: str, where: SiteShape):
    bounds = CATALOGUE[blueprint_id].allowed_parameters[name]
    low, high = (build(blueprint_id, {name: value}, where, 5) for value in (bounds.min_value, bounds.max_value))
    shapes = [[tuple(own.shape) for own in module.parameters()] for module in (low, high)]
    if shapes[0] == shapes[1]:
        assert any(
            one.shape != other.shape or not torch.equal(one, other)
            for one, other in zip(_lived(low, where), _lived(high, where), strict=True)
        )


def _lived(module: nn.Module, where: SiteShape) -> list[Tensor]:
    """What two training passes give: outputs, gradients of the input, running statistics."""
    leave_birth(module)
    found: list[Tensor] = []
    for step in range(2):
        # Small inputs, because a normalisation's epsilon shows only against a small variance.
        features = (inputs(where, seed=step) * 0.01).requires_grad_()
        output = seeded(module, features)
        output.square().sum().mul(1e4).backward()
        learning = (features, *module.parameters())
        found += [output.detach(), *(own.grad.clone() for own in learning if own.grad is not None)]
    return [*found, *module.buffers()]


@pytest.mark.parametrize(
    ("blueprint_id", "where"), sampled(((name, where) for name in GROWABLE for where in SEEN), EXPORTED)
)
def test_it_can_be_exported_for_any_batch_and_traced(blueprint_id: str, where: SiteShape):
    offer = offer_of(blueprint_id, where)
    if offer is None:
        return
    module = seed_module(offer, where)
    guard = export_module(module, where).guard
    assert guard.ranges == {"d0": (1, 65_536)}
    assert guard.parameter_count == offer.parameter_count
    assert {each.name for each in guard.buffers} == {name for name, _ in module.named_buffers()}
    features = inputs(where)
    assert torch.equal(seeded(symbolic_trace(module), features), seeded(module, features))


@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_it_is_built_in_the_sites_dtype(dtype: str):
    for size in ((16,), (6, 16), (16, 6, 6)):
        where = shape(size, dtype=dtype)
        for offer in offered(where):
            output = seed_module(offer, where)(inputs(where))
            assert str(output.dtype) == f"torch.{dtype}", offer.blueprint_id


@pytest.mark.parametrize("where", TYPICAL, ids=str)
def test_it_learns_under_autocast(where: SiteShape):
    for offer in offered(where):
        module, features = seed_module(offer, where), inputs(where).requires_grad_()
        leave_birth(module)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output = module(features)
            output.float().square().mean().backward()
        assert torch.isfinite(output).all(), offer.blueprint_id
        found = [own.grad for own in module.parameters() if own.grad is not None]
        assert all(torch.isfinite(gradient).all() for gradient in found), offer.blueprint_id


def test_a_step_of_a_sequence_sees_no_more_than_is_said_of_it():
    where = shape((7, 16))
    for offer in offered(where):
        module, seen = seed_module(offer, where).eval(), set[str]()
        leave_birth(module)
        for seed in range(0, 16, 2):
            one, other = inputs(where, seed=seed), inputs(where, seed=seed + 1)
            later, earlier = torch.cat([one[:, :3], other[:, 3:]], 1), torch.cat([other[:, :3], one[:, 3:]], 1)
            seen |= {"later"} if not torch.equal(module(one)[:, :3], module(later)[:, :3]) else set()
            seen |= {"earlier"} if not torch.equal(module(one)[:, 3:], module(earlier)[:, 3:]) else set()
        said = {"itself": set(), "earlier": {"earlier"}, "all": {"earlier", "later"}}[traits(offer.blueprint_id).reach]
        # Batch norm reads the other steps in training only.
        assert seen == (set() if offer.blueprint_id == "BP006" else said), offer.blueprint_id


def test_a_seed_can_have_dropout_of_its_own():
    module = build(GATED_FEEDFORWARD, {"dropout": 0.4}, shape((16,), (26,)), 0)
    leave_birth(module)
    features = inputs(shape((16,)))
    assert not torch.equal(module(features), module(features))
    module.eval()
    assert torch.equal(module(features), module(features))
