"""The costs of BP019 to BP035, and of the attention and feed-forward nets of the transformers' list."""

import math
from collections.abc import Mapping

from esper.karn.costs.cost import (
    Cost,
    attending,
    attention,
    filtered,
    learned,
    linear,
    outputs_of,
    positions_of,
    taps_of,
    total,
)
from esper.karn.costs.plain import Chosen, Formula, gated
from esper.karn.route import Route
from esper.karn.widths import VECTOR_NODES, even_heads, halved, hidden_width, odd_kernel, padded, pyramid_width
from esper.leyline.v1.enums_pb2 import SITE_KIND_IMAGE, SITE_KIND_VECTOR

TOKENS = 16
HEADS = 4
BANDS = 16


def _cross(way: Route, chosen: Chosen) -> Cost:
    positions, channels = positions_of(way), way.channels_in
    width = padded(channels, int(chosen["heads"]))
    asked = linear(positions, channels, width) + attending(positions, TOKENS, width)
    # The tokens' keys and values are computed once for a batch.
    return asked + linear(positions, width, channels) + learned(TOKENS * channels + 2 * channels * width)


def in_blocks(way: Route, grid: tuple[int, ...], length: int, width: int) -> Cost:
    """Return the cost of attention inside blocks of the grid, what sticks out filled up."""
    sides = [min(length, extent) for extent in grid]
    blocks = math.prod(math.ceil(extent / side) for extent, side in zip(grid, sides, strict=True))
    one = attention(math.prod(sides), way.channels_in, width)
    return Cost(one.parameters, blocks * one.flops)


def _heads(way: Route, chosen: Chosen) -> Cost:
    return attention(positions_of(way), way.channels_in, padded(way.channels_in, int(chosen["heads"])))


def _encoder(way: Route, chosen: Chosen) -> Cost:
    positions, channels = positions_of(way), way.channels_in
    inner = attention(positions, channels, padded(channels, HEADS))
    layer = inner + linear(positions, channels, 4 * channels).times(2) + learned(4 * channels)
    return layer.times(int(chosen["layers"]))


def _conformer(way: Route, chosen: Chosen) -> Cost:
    positions, channels = positions_of(way), way.channels_in
    taps = taps_of(way, odd_kernel(chosen["kernel"]))
    middle = linear(positions, channels, 2 * channels) + linear(positions, channels, channels)
    middle = middle + filtered(positions, channels, channels, taps, groups=channels)
    inner = attention(positions, channels, padded(channels, HEADS)) + middle
    return inner + linear(positions, channels, 4 * channels).times(2) + learned(6 * channels)


def _dynamic(way: Route, chosen: Chosen) -> Cost:
    positions, channels, experts = positions_of(way), way.channels_in, int(chosen["experts"])
    filters = filtered(positions, channels, channels * experts, taps_of(way, 3), groups=channels)
    return linear(1, channels, experts) + filters + linear(positions, channels, channels)


def _pooled(way: Route, chosen: Chosen) -> Cost:
    coarse = math.prod(min(int(chosen["output_size"]), extent) for extent in way.grid_in)
    return linear(coarse, way.channels_in, way.channels_out) + learned(way.channels_out)


def _pyramid(way: Route, chosen: Chosen) -> Cost:
    width, positions = pyramid_width(way.channels_in), positions_of(way)
    grids = [way.grid_in]
    while len(grids) < int(chosen["levels"]):
        grids.append(halved(grids[-1]))
    laterals = total(linear(math.prod(grid), way.channels_in, width) for grid in grids)
    smooth = filtered(positions, width, width, taps_of(way, 3))
    return laterals + smooth + linear(positions, width, way.channels_out)


def _dense(way: Route, chosen: Chosen) -> Cost:
    positions, channels, growth = positions_of(way), way.channels_in, int(chosen["growth_rate"])
    taps = 9 if way.input_kind == SITE_KIND_IMAGE else 1
    layers = total(filtered(positions, channels + index * growth, growth, taps) for index in range(3))
    return layers + linear(positions, channels + 3 * growth, channels)


def _graph(way: Route, chosen: Chosen) -> Cost:
    vector = way.input_kind == SITE_KIND_VECTOR
    width = padded(way.channels_in, VECTOR_NODES) // VECTOR_NODES if vector else way.channels_in
    hop = linear(VECTOR_NODES if vector else positions_of(way), width, width)
    return Cost(hop.parameters, int(chosen["hops"]) * hop.flops) + learned(2 * width + way.channels_out)


def _temporal(way: Route, chosen: Chosen) -> Cost:
    positions, channels = positions_of(way), way.channels_in
    return filtered(positions, channels, channels, 3, groups=channels) + linear(positions, channels, channels)


def _dilated(way: Route, chosen: Chosen) -> Cost:
    positions, channels = positions_of(way), way.channels_in
    one = filtered(positions, channels, channels, taps_of(way, 3), groups=channels)
    return (one + linear(positions, channels, channels)).times(3)


def _deformable(way: Route, chosen: Chosen) -> Cost:
    positions, channels = positions_of(way), way.channels_in
    offsets = filtered(positions, channels, 18 * int(chosen["offset_groups"]), 9)
    return offsets + learned(9 * channels) + linear(positions, channels, channels)


def _positional(way: Route, chosen: Chosen) -> Cost:
    # The waves are the same for every sample of a batch: what is done once is not counted for each of them.
    return learned(2 * BANDS * len(way.grid_in) * way.channels_out)


def _split(way: Route, chosen: Chosen) -> Cost:
    positions, channels = positions_of(way), way.channels_in
    width = padded(channels, HEADS)
    wider = round(HEADS * chosen["kv_mult"]) * width // HEADS
    read = linear(positions, channels, width) + linear(positions, channels, wider).times(2)
    return read + attending(positions, positions, wider) + linear(positions, wider, channels)


def _grouped_queries(way: Route, chosen: Chosen) -> Cost:
    positions, channels = positions_of(way), way.channels_in
    width = even_heads(channels, 8)
    shared = int(chosen["groups"]) * width // 8
    read = linear(positions, channels, width) + linear(positions, channels, shared).times(2)
    return read + attending(positions, positions, width) + linear(positions, width, channels)


def _standard(way: Route, chosen: Chosen) -> Cost:
    return attention(positions_of(way), way.channels_in, even_heads(way.channels_in, int(chosen["heads"])))


def _wide(way: Route, chosen: Chosen) -> Cost:
    hidden, positions = hidden_width(way.channels_out, chosen["mult"]), outputs_of(way)
    return linear(positions, way.fan_in, hidden, bias=True) + linear(positions, hidden, way.channels_out, bias=True)


DEEP: Mapping[str, Formula] = {
    "BP019": _cross,
    "BP020": lambda way, chosen: in_blocks(way, (positions_of(way),), int(chosen["sequence_length"]), way.channels_in),
    "BP022": _heads,
    "BP023": _encoder,
    "BP024": _conformer,
    "BP025": _dynamic,
    "BP026": _pooled,
    "BP027": _pyramid,
    "BP028": _dense,
    "BP029": _heads,
    "BP030": _graph,
    "BP031": _temporal,
    "BP032": _dilated,
    "BP033": _deformable,
    "BP034": lambda way, chosen: in_blocks(way, way.grid_in, int(chosen["window"]), (way.channels_in + 1) // 2),
    "BP035": _positional,
    "BP-ATTN-STD": _standard,
    "BP-ATTN-SPLIT-QK": _split,
    "BP-MLP-GELU-2048": _wide,
    "BP-MLP-SWIGLU-4096": lambda way, chosen: gated(way, hidden_width(way.channels_out, chosen["mult"]), bias=False),
    "BP-KV-CACHE-8BIT": lambda way, chosen: attention(
        positions_of(way), way.channels_in, padded(way.channels_in, HEADS)
    ),
    "BP-FLASH-ATTN-V2": lambda way, chosen: attention(positions_of(way), way.channels_in, padded(way.channels_in, 8)),
    "BP-KV-GROUPED-ROPE": _grouped_queries,
}
