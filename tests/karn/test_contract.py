"""What every blueprint promises, whatever the site."""

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.fx import symbolic_trace

from esper.karn.builders import build
from esper.karn.catalogue import CATALOGUE, GATED_FEEDFORWARD
from esper.karn.counting import parameter_count
from esper.leyline.v1.site_pb2 import SiteShape
from esper.tezzeret.exporting import export_module
from tests.karn.sites import contribution, fits, inputs, kept_shapes, offered, seed_module, shape, span_shapes

any_shape = st.one_of(kept_shapes, span_shapes())
TYPICAL = (shape((16,)), shape((6, 16)), shape((16, 8, 8)))
SPANS = (shape((16,), (26,)), shape((8, 6), (4, 12)), shape((9, 6), (5,)), shape((3, 9, 8), (8, 4, 4)))
SEEN = [*TYPICAL, *SPANS, shape((1, 8, 8), (10,))]


@settings(max_examples=60, deadline=None)
@given(any_shape)
def test_at_birth_nothing_changes_and_the_shape_is_the_sites(where: SiteShape):
    for offer in offered(where):
        module, features = seed_module(offer, where), inputs(where)
        output = module(features)
        assert output.shape == (3, *where.output_size)
        assert not contribution(offer, features, output).any()


@settings(max_examples=30, deadline=None)
@given(kept_shapes, st.integers(1, 9))
def test_at_an_output_it_takes_images_and_sequences_of_any_extent(where: SiteShape, extent: int):
    sizes = list(where.input_size)
    channels = -1 if len(sizes) < 3 else 0
    other = shape(tuple(size if at == channels % len(sizes) else extent for at, size in enumerate(sizes)))
    for offer in offered(where):
        assert seed_module(offer, where)(inputs(other)).shape == (3, *other.output_size)


@settings(max_examples=60, deadline=None)
@given(any_shape)
def test_parameters_are_counted_exactly(where: SiteShape):
    for offer in offered(where):
        built = sum(parameter.numel() for parameter in seed_module(offer, where).parameters())
        assert built == parameter_count(offer.blueprint_id, offer.parameters, where) == offer.parameter_count


@settings(max_examples=20, deadline=None)
@given(any_shape, st.integers(0, 2**64 - 1))
def test_first_values_follow_from_the_seed_alone_and_global_randomness_is_untouched(where: SiteShape, init_seed: int):
    before = torch.get_rng_state()
    for offer in offered(where):
        first, again = (seed_module(offer, where, init_seed).state_dict() for _ in range(2))
        assert all(torch.equal(first[name], again[name]) for name in first)
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
            reached |= {name for name, own in module.named_parameters() if own.grad is not None and own.grad.any()}
            optimizer.step()
        assert reached == {name for name, _ in module.named_parameters()}, offer.blueprint_id


@pytest.mark.parametrize("where", SEEN, ids=str)
def test_it_learns_to_contribute(where: SiteShape):
    features = inputs(where, 32)
    for offer in offered(where):
        module, other = seed_module(offer, where), seed_module(offer, where)
        if not list(module.parameters()):
            continue
        # What the same blueprint would add with other weights is something it can learn.
        generator = torch.Generator().manual_seed(0)
        weights = torch.randn(offer.parameter_count, generator=generator) * 0.5
        torch.nn.utils.vector_to_parameters(weights, other.parameters())
        wish = contribution(offer, features, other(features)).detach()
        optimizer = torch.optim.Adam(module.parameters(), lr=0.02)
        losses: list[float] = []
        for _ in range(60):
            optimizer.zero_grad()
            loss = (contribution(offer, features, module(features)) - wish).square().mean()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        assert losses[-1] < 0.9 * losses[0], offer.blueprint_id


@pytest.mark.parametrize("where", SEEN, ids=str)
def test_no_two_blueprints_are_the_same_module(where: SiteShape):
    prints = Counter(
        tuple(sorted((name, tuple(own.shape)) for name, own in seed_module(offer, where).named_parameters()))
        for offer in offered(where)
    )
    assert max(prints.values()) == 1


DECLARED = [
    (blueprint_id, name, where)
    for blueprint_id, row in CATALOGUE.items()
    for name in sorted(row.allowed_parameters)
    for where in TYPICAL
    if fits(blueprint_id, where)
]


@pytest.mark.parametrize(("blueprint_id", "name", "where"), DECLARED, ids=str)
def test_every_declared_parameter_is_live(blueprint_id: str, name: str, where: SiteShape):
    bounds = CATALOGUE[blueprint_id].allowed_parameters[name]
    low, high = (build(blueprint_id, {name: value}, where, 5) for value in (bounds.min_value, bounds.max_value))
    shapes = [[tuple(own.shape) for own in module.parameters()] for module in (low, high)]
    if shapes[0] == shapes[1]:
        for module in (low, high):
            _leave_birth(module)
        # Small inputs, because a normalisation's epsilon shows only against a small variance.
        outputs = [_seeded(module, inputs(where) * 0.01) for module in (low, high)]
        assert not torch.equal(*outputs)


def _leave_birth(module: torch.nn.Module) -> None:
    with torch.no_grad():
        for own in module.parameters():
            if not own.any():
                own.fill_(1.0)


def _seeded(module: torch.nn.Module, features: torch.Tensor) -> torch.Tensor:
    torch.manual_seed(0)
    return module(features)


@pytest.mark.parametrize("where", SEEN, ids=str)
def test_it_can_be_exported_for_any_batch_and_traced(where: SiteShape):
    for offer in offered(where):
        module = seed_module(offer, where)
        guard = export_module(module, where).guard
        assert guard.ranges == {"d0": (1, 65_536)}
        assert guard.parameter_count == offer.parameter_count
        features = inputs(where)
        assert torch.equal(symbolic_trace(module)(features), module(features))


@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_it_is_built_in_the_sites_dtype(dtype: str):
    where = shape((16, 6, 6), dtype=dtype)
    for offer in offered(where):
        output = seed_module(offer, where)(inputs(where))
        assert str(output.dtype) == f"torch.{dtype}"


def test_a_seed_can_have_dropout_of_its_own():
    module = build(GATED_FEEDFORWARD, {"dropout": 0.4}, shape((16,), (26,)), 0)
    _leave_birth(module)
    features = inputs(shape((16,)))
    assert not torch.equal(module(features), module(features))
    module.eval()
    assert torch.equal(module(features), module(features))


def test_there_are_eight_of_them():
    assert len(CATALOGUE) == 8
