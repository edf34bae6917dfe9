"""What a part of a module costs, and how the costs of parts add up."""

import math
from collections.abc import Iterable

import msgspec

from esper.karn.route import Route


class Cost(msgspec.Struct, frozen=True):
    """Numbers that are learned, and floating-point operations of one sample's forward pass.

    Operations are those of matrix products and convolutions, a multiplication and an addition for each; what is done
    element by element is not counted. Read or written memory is not, either: time is measured, not derived.
    """

    parameters: int = 0
    flops: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.parameters + other.parameters, self.flops + other.flops)

    def times(self, count: int) -> "Cost":
        """Return what *count* such parts cost."""
        return Cost(count * self.parameters, count * self.flops)


FREE = Cost()


def total(parts: Iterable[Cost]) -> Cost:
    """Return what all *parts* cost."""
    return sum(parts, FREE)


def learned(parameters: int) -> Cost:
    """Return the cost of so many numbers that take part in no product."""
    return Cost(parameters)


def linear(positions: int, channels_in: int, channels_out: int, *, bias: bool = False) -> Cost:
    """Return the cost of a map over channels, at every position."""
    weights = channels_in * channels_out
    return Cost(weights + (channels_out if bias else 0), 2 * positions * weights)


def filtered(positions: int, channels_in: int, channels_out: int, taps: int, *, groups: int = 1) -> Cost:
    """Return the cost of a convolution of *taps* taps, without bias, that gives so many positions."""
    weights = channels_in // groups * channels_out * taps
    return Cost(weights, 2 * positions * weights)


def attending(queries: int, keys: int, width: int, value_width: int | None = None) -> Cost:
    """Return the cost of scores and weighted means, all heads together."""
    return Cost(0, 2 * queries * keys * (width + (width if value_width is None else value_width)))


def attention(positions: int, channels: int, width: int, *, blocks: int = 1) -> Cost:
    """Return the cost of self-attention without biases, inside each of so many *blocks* of *positions* positions."""
    everywhere = blocks * positions
    maps = linear(everywhere, channels, width).times(3) + linear(everywhere, width, channels)
    return maps + attending(positions, positions, width).times(blocks)


def positions_of(way: Route) -> int:
    """Return at how many positions a module that keeps its shape works."""
    return math.prod(way.grid_in)


def taps_of(way: Route, kernel: int) -> int:
    """Return how many positions a filter of that side reads; a vector has one."""
    return kernel ** len(way.grid_in)


def outputs_of(way: Route) -> int:
    """Return how many positions come out."""
    return math.prod(way.grid_out)
