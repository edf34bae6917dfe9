"""The inner sizes that follow from a blueprint's parameters and the route it takes."""

import math

import msgspec

from esper.karn.route import Route
from esper.leyline.v1.enums_pb2 import SITE_KIND_IMAGE, SITE_KIND_VECTOR

# An image is brought to about this many rows and columns before residual blocks that end in a vector look at it.
BLOCK_GRID = 8
# ... and to at most this many before their features are laid out for the last linear map.
HEAD_GRID = 4
NARROWEST_BLOCK = 8
# A vector as a graph: so many groups of its channels.
VECTOR_NODES = 4
# How many experts come with a part that needs some and is grown alone.
COMPANIONS = 4
# The side of the windows of hierarchical attention.
WINDOW = 8


def hidden_width(channels: int, multiple: float) -> int:
    """Return how many hidden units a gated feed-forward of *channels* outputs has."""
    return max(1, round(channels * multiple))


def squeezed_width(channels: int, reduction: float) -> int:
    """Return how many numbers *channels* are squeezed to."""
    return math.ceil(channels / reduction)


def odd_kernel(kernel: float) -> int:
    """Return *kernel*, or the next odd number, so that a filter has a middle."""
    return int(kernel) | 1


class BlockWidths(msgspec.Struct, frozen=True, kw_only=True):
    """The inner sizes of residual blocks; `head_grid` is empty unless they look at an image and end in a vector."""

    width: int
    stem_stride: tuple[int, ...]
    stem_fan_in: int
    head_grid: tuple[int, ...]

    @classmethod
    def of(cls, way: Route) -> "BlockWidths":
        """Return the sizes for *way*. A strided stem reads one position more than its stride on either side."""
        if way.input_kind != SITE_KIND_IMAGE:
            return cls(width=way.channels_out, stem_stride=(), stem_fan_in=way.fan_in, head_grid=())
        if way.output_kind != SITE_KIND_VECTOR:
            stride, width, head = way.patch, way.channels_out, ()
        else:
            stride = tuple(max(1, given // BLOCK_GRID) for given in way.grid_in)
            inner = (given // step for given, step in zip(way.grid_in, stride, strict=True))
            width, head = max(NARROWEST_BLOCK, way.channels_out), tuple(min(HEAD_GRID, cells) for cells in inner)
        taps = math.prod(step + 2 for step in stride)
        return cls(width=width, stem_stride=stride, stem_fan_in=taps * way.channels_in, head_grid=head)


def padded(channels: int, parts: int) -> int:
    """Return *channels*, or the next multiple of *parts*, so that every one of the parts has a width of its own."""
    return parts * math.ceil(channels / parts)


def even_heads(channels: int, heads: int) -> int:
    """Return the least width at which each of *heads* heads has an even number of features, as rotations need."""
    return padded(channels, 2 * heads)


def halved(grid: tuple[int, ...]) -> tuple[int, ...]:
    """Return the next coarser grid: half as many positions a side, rounded up."""
    return tuple(math.ceil(extent / 2) for extent in grid)


def seats(positions: int, experts: int, capacity: float) -> int:
    """Return how many positions one expert takes when each position goes to two; *capacity* 1 is a fair share."""
    return min(positions, math.ceil(capacity * 2 * positions / experts))


def pyramid_width(channels: int) -> int:
    """Return how wide the rows of a feature pyramid are."""
    return math.ceil(channels / 4)
