"""The costs of BP001 to BP018, and of the adapters and gains of the transformers' list."""

import math
from collections.abc import Callable, Mapping
from typing import TypeAlias

from esper.karn.costs.cost import (
    FREE,
    Cost,
    filtered,
    learned,
    linear,
    outputs_of,
    positions_of,
    taps_of,
    total,
)
from esper.karn.route import Route
from esper.karn.widths import BlockWidths, hidden_width, odd_kernel, padded, squeezed_width
from esper.leyline.v1.enums_pb2 import SITE_KIND_IMAGE, SITE_KIND_VECTOR

Chosen: TypeAlias = Mapping[str, float]
Formula: TypeAlias = Callable[[Route, Chosen], Cost]


def _projection(way: Route, chosen: Chosen) -> Cost:
    return linear(outputs_of(way), way.fan_in, way.channels_out) + learned(way.channels_out)


def _skip(way: Route, chosen: Chosen) -> Cost:
    if way.preserving:
        return learned(way.channels_out)
    return linear(outputs_of(way), way.fan_in, way.channels_out)


def _residual(way: Route, chosen: Chosen) -> Cost:
    widths = BlockWidths.of(way)
    taps = 9 if way.input_kind == SITE_KIND_IMAGE else 1
    to_vector = way.input_kind == SITE_KIND_IMAGE and way.output_kind == SITE_KIND_VECTOR
    inner = [given // step for given, step in zip(way.grid_in, widths.stem_stride, strict=True)] if to_vector else []
    positions = math.prod(inner) if to_vector else outputs_of(way)
    block = filtered(positions, widths.width, widths.width, taps).times(2) + learned(4 * widths.width)
    stem = FREE if way.preserving else linear(positions, widths.stem_fan_in, widths.width)
    head = FREE
    if widths.head_grid:
        head = linear(1, widths.width * math.prod(widths.head_grid), way.channels_out, bias=True)
    return stem + block.times(int(chosen["depth"])) + head


def _concat(way: Route, chosen: Chosen) -> Cost:
    branches, positions = int(chosen["branches"]), positions_of(way)
    width = math.ceil(way.channels_in / branches)
    reach = [1 if way.input_kind == SITE_KIND_VECTOR else 2 * index + 1 for index in range(branches)]
    seen = total(filtered(positions, way.channels_in, width, taps_of(way, kernel)) for kernel in reach)
    return seen + linear(positions, branches * width, way.channels_out)


def _grouped(way: Route, chosen: Chosen) -> Cost:
    groups = int(chosen["groups"])
    width, taps = padded(way.channels_in, groups), 9 if way.input_kind == SITE_KIND_IMAGE else 1
    return filtered(positions_of(way), width, width, taps, groups=groups) + learned(way.channels_out)


def _highway(way: Route, chosen: Chosen) -> Cost:
    channels, positions = way.channels_out, positions_of(way)
    gate = linear(positions, channels, channels, bias=True)
    return gate + linear(positions, channels, channels) + learned(channels)


def _depthwise(way: Route, chosen: Chosen) -> Cost:
    channels = way.channels_in
    taps = taps_of(way, odd_kernel(chosen["kernel"]))
    filters = filtered(positions_of(way), channels, channels, taps, groups=channels)
    mix = linear(outputs_of(way), channels, way.channels_out)
    return filters + learned(2 * channels) + mix + learned(way.channels_out)


def _excitation(way: Route, chosen: Chosen) -> Cost:
    channels = way.channels_out
    hidden = squeezed_width(channels, chosen["reduction"])
    return linear(1, channels, hidden, bias=True) + linear(1, hidden, channels, bias=True)


def _channel_attention(way: Route, chosen: Chosen) -> Cost:
    heads = int(chosen["heads"])
    width = padded(way.channels_in, heads)
    hidden = heads * math.ceil(width / (4 * heads))
    # The first map reads the means and the greatest values, the second what both gave together.
    squeeze = filtered(1, width, hidden, 1, groups=heads)
    again = Cost(0, squeeze.flops)
    return squeeze + again + filtered(1, hidden, width, 1, groups=heads) + learned(hidden + width)


def _spatial_attention(way: Route, chosen: Chosen) -> Cost:
    return filtered(positions_of(way), 2, 1, taps_of(way, 2 * int(chosen["radius"]) + 1)) + learned(1)


def _low_rank(way: Route, chosen: Chosen) -> Cost:
    rank, positions = int(chosen["rank"]), outputs_of(way)
    return linear(positions, way.fan_in, rank) + linear(positions, rank, way.channels_out)


def gated(way: Route, hidden: int, *, bias: bool) -> Cost:
    """Return the cost of a feed-forward net with a gate."""
    positions = outputs_of(way)
    read = linear(positions, way.fan_in, hidden, bias=bias).times(2)
    return read + linear(positions, hidden, way.channels_out, bias=bias)


PLAIN: Mapping[str, Formula] = {
    "BP001": lambda way, chosen: FREE,
    "BP002": _projection,
    "BP003": lambda way, chosen: learned(3 * way.channels_out),
    "BP004": lambda way, chosen: FREE,
    "BP005": lambda way, chosen: learned(way.channels_out),
    "BP006": lambda way, chosen: learned(3 * way.channels_out),
    "BP007": lambda way, chosen: learned(way.channels_out),
    "BP008": _skip,
    "BP009": _residual,
    "BP010": _concat,
    "BP011": lambda way, chosen: learned(way.channels_out),
    "BP012": lambda way, chosen: learned(way.channels_out),
    "BP013": _grouped,
    "BP014": _highway,
    "BP015": _depthwise,
    "BP016": _excitation,
    "BP017": _channel_attention,
    "BP018": _spatial_attention,
    "BP021": lambda way, chosen: gated(way, hidden_width(way.channels_out, chosen["hidden_multiple"]), bias=True),
    "BP-PROJ-LoRA-64": _low_rank,
    "BP-PROJ-IA3": lambda way, chosen: learned(way.channels_out),
    "BP-LN-RMS": lambda way, chosen: learned(way.channels_out),
    "BP-MON-ACT-STATS": lambda way, chosen: FREE,
    "BP-CLAMP-GRAD-NORM": lambda way, chosen: FREE,
}
