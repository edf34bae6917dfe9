"""From a site's input to its output: how positions are reduced, and how many numbers each output position reads."""

import math
from collections.abc import Sequence

import msgspec

from esper.karn.catalogue import descriptor
from esper.karn.errors import ShapeUnsupported
from esper.karn.own import is_own
from esper.leyline.v1.enums_pb2 import SITE_KIND_IMAGE, SITE_KIND_SEQUENCE, SITE_KIND_VECTOR, SiteKind
from esper.leyline.v1.site_pb2 import SiteShape

# A map to a vector reads at most about this many inputs: larger ones are average-pooled over positions first.
FLAT_FEATURES = 256

_RANK: dict[SiteKind, int] = {SITE_KIND_VECTOR: 1, SITE_KIND_SEQUENCE: 2, SITE_KIND_IMAGE: 3}
DTYPES = ("float32", "float64", "bfloat16")


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """How a module gets from its input to its output.

    `grid_in` and `grid_out` are the positions ((), (T) or (H, W)). Positions are first average-pooled to `pooled`;
    then, if `flat`, all of them are laid out in one vector, else `patch` positions meet in each output position.
    """

    input_kind: SiteKind
    output_kind: SiteKind
    channels_in: int
    channels_out: int
    grid_in: tuple[int, ...]
    grid_out: tuple[int, ...]
    pooled: tuple[int, ...]
    patch: tuple[int, ...]
    flat: bool

    @property
    def pools(self) -> bool:
        """Whether positions are averaged before anything else."""
        return self.pooled != self.grid_in

    @property
    def preserving(self) -> bool:
        """Whether output and input have the same shape."""
        return (self.input_kind, self.channels_in, self.grid_in) == (self.output_kind, self.channels_out, self.grid_out)

    @property
    def fan_in(self) -> int:
        """How many numbers one output position of one linear map reads."""
        return self.channels_in * math.prod(self.pooled if self.flat else self.patch)


def route(blueprint_id: str, shape: SiteShape) -> Route:
    """Return how *blueprint_id* gets from the input to the output of *shape*.

    Raises:
        UnknownBlueprint: the catalogue holds no such blueprint.
        ShapeUnsupported: the blueprint cannot do it.
    """
    described = descriptor(blueprint_id)
    name = f"{tuple(shape.input_size)} -> {tuple(shape.output_size)}"
    if shape.dtype not in DTYPES:
        raise ShapeUnsupported(blueprint_id, name, f"dtype {shape.dtype!r} is none of {', '.join(DTYPES)}")
    for kind, size in ((shape.input_kind, shape.input_size), (shape.output_kind, shape.output_size)):
        if _RANK.get(kind) != len(size) or 0 in size:
            raise ShapeUnsupported(blueprint_id, name, f"{SiteKind.Name(kind)} does not have the size {tuple(size)}")
    if shape.input_kind not in described.kinds or shape.output_kind not in described.kinds:
        kinds = ", ".join(SiteKind.Name(kind) for kind in described.kinds)
        raise ShapeUnsupported(blueprint_id, name, f"it works on {kinds}")
    found = planned(shape)
    if found is None:
        raise ShapeUnsupported(blueprint_id, name, "an output with more positions, or positions of another kind")
    if not (found.preserving or described.spans):
        raise ShapeUnsupported(blueprint_id, name, "it keeps the shape of its input")
    if is_own(described.version) and (found.input_kind, found.grid_in) != (found.output_kind, found.grid_out):
        raise ShapeUnsupported(blueprint_id, name, "an own blueprint may change the width, and keeps the positions")
    return found


def planned(shape: SiteShape) -> Route | None:
    """Return how a module could get from the input to the output of *shape*; None if there is no way."""
    channels_in, grid_in = _channels(shape.input_kind, shape.input_size)
    channels_out, grid_out = _channels(shape.output_kind, shape.output_size)
    flat = shape.output_kind == SITE_KIND_VECTOR and shape.input_kind != SITE_KIND_VECTOR
    if flat:
        pooled, patch = _at_most(grid_in, FLAT_FEATURES // channels_in), (1,) * len(grid_in)
    elif shape.input_kind != shape.output_kind or any(
        out > given for given, out in zip(grid_in, grid_out, strict=True)
    ):
        return None
    elif shape.input_kind == SITE_KIND_IMAGE:
        patch = tuple(given // out for given, out in zip(grid_in, grid_out, strict=True))
        pooled = tuple(step * out for step, out in zip(patch, grid_out, strict=True))
    else:
        pooled, patch = grid_out, (1,) * len(grid_out)
    return Route(
        input_kind=shape.input_kind,
        output_kind=shape.output_kind,
        channels_in=channels_in,
        channels_out=channels_out,
        grid_in=grid_in,
        grid_out=grid_out,
        pooled=pooled,
        patch=patch,
        flat=flat,
    )


def _channels(kind: SiteKind, size: Sequence[int]) -> tuple[int, tuple[int, ...]]:
    if kind == SITE_KIND_IMAGE:
        return size[0], tuple(size[1:])
    return size[-1], tuple(size[:-1])


def _at_most(grid: tuple[int, ...], cells: int) -> tuple[int, ...]:
    """Return the finest grid that an equal division of *grid* gives with no more than *cells* cells (at least one)."""
    for factor in range(1, max(grid) + 1):
        coarser = tuple(max(1, given // factor) for given in grid)
        if math.prod(coarser) <= cells:
            return coarser
    return (1,) * len(grid)
