"""Shapes that seeds may meet, and modules for them."""

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from esper.karn.builders import build
from esper.karn.catalogue import CATALOGUE
from esper.karn.counting import parameter_count
from esper.karn.errors import BlueprintRefused
from esper.karn.parameters import effective_parameters
from esper.leyline.v1.enums_pb2 import (
    BLEND_MODE_CONVEX,
    SITE_KIND_IMAGE,
    SITE_KIND_SEQUENCE,
    SITE_KIND_VECTOR,
    SiteKind,
)
from esper.leyline.v1.policy_pb2 import Candidate
from esper.leyline.v1.site_pb2 import Site, SiteShape

GROWABLE = tuple(blueprint_id for blueprint_id, row in CATALOGUE.items() if not row.quarantine_only)
SITE, SPAN = Site(seed_id="s0"), Site(seed_id="s1", entry_module="first", exit_module="last")


def shape(given: tuple[int, ...], wanted: tuple[int, ...] | None = None, dtype: str = "float32") -> SiteShape:
    """A site that maps *given* to *wanted* (the same, if left out); the kind follows from the number of sizes."""
    wanted = given if wanted is None else wanted
    return SiteShape(
        input_kind=_kind(given),
        input_size=given,
        output_kind=_kind(wanted),
        output_size=wanted,
        dtype=dtype,
    )


def _kind(size: tuple[int, ...]) -> SiteKind:
    return (SITE_KIND_VECTOR, SITE_KIND_SEQUENCE, SITE_KIND_IMAGE)[len(size) - 1]


_channels, _extent = st.integers(1, 24), st.integers(1, 11)
kept_shapes = st.one_of(
    st.tuples(_channels), st.tuples(_extent, _channels), st.tuples(_channels, _extent, _extent)
).map(shape)


@st.composite
def span_shapes(draw: st.DrawFn) -> SiteShape:
    """A site whose output differs from its input: narrower, wider, with fewer positions, or a vector of an image."""
    rank = draw(st.integers(1, 3))
    grid = tuple(draw(st.integers(2, 12)) for _ in range(rank - 1))
    into, out = draw(_channels), draw(_channels)
    if rank > 1 and draw(st.booleans()):
        return shape((into, *grid) if rank == 3 else (*grid, into), (out,))
    coarser = tuple(draw(st.integers(1, extent)) for extent in grid)
    return shape((into, *grid), (out, *coarser)) if rank == 3 else shape((*grid, into), (*coarser, out))


def offered(where: SiteShape) -> list[Candidate]:
    """Every blueprint that can be grown at *where*, as it would be offered if all were."""
    return [offer for blueprint_id in GROWABLE if (offer := offer_of(blueprint_id, where)) is not None]


def offer_of(blueprint_id: str, where: SiteShape, **parameters: float) -> Candidate | None:
    """The blueprint as it would be offered at *where*; None if it cannot be grown there."""
    described = CATALOGUE[blueprint_id]
    try:
        chosen = effective_parameters(blueprint_id, parameters)
        count = parameter_count(blueprint_id, chosen, where)
    except BlueprintRefused:
        return None
    return Candidate(
        blueprint_id=blueprint_id, parameters=chosen, blend_mode=described.blend_mode, parameter_count=count
    )


def seed_module(offer: Candidate, where: SiteShape, init_seed: int = 3) -> nn.Module:
    return build(offer.blueprint_id, offer.parameters, where, init_seed)


def inputs(where: SiteShape, batch: int = 3, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((batch, *where.input_size), generator=generator).to(getattr(torch, where.dtype))


def contribution(offer: Candidate, features: Tensor, output: Tensor) -> Tensor:
    return output - features if offer.blend_mode == BLEND_MODE_CONVEX else output
