"""The costs of BP036 to BP042, and of the experts of the transformers' list."""

import math
from collections.abc import Mapping

from esper.karn.costs.cost import Cost, attention, filtered, learned, linear, positions_of, taps_of, total
from esper.karn.costs.deep import in_blocks
from esper.karn.costs.plain import Chosen, Formula
from esper.karn.route import Route
from esper.karn.widths import COMPANIONS, WINDOW, halved, hidden_width, seats

FAST_RANK = 16


def _bank(experts: int, taken: int, channels: int, hidden: int, *, gated: bool = False) -> Cost:
    """Return the cost of experts that each answer for so many positions."""
    up = linear(taken, channels, 2 * hidden if gated else hidden)
    return (up + linear(taken, hidden, channels)).times(experts)


def _mixture(way: Route, chosen: Chosen) -> Cost:
    positions, channels, experts = positions_of(way), way.channels_in, int(chosen["experts"])
    taken = seats(positions, experts, chosen["capacity"])
    return linear(positions, channels, experts) + _bank(experts, taken, channels, 2 * channels)


def _maps(way: Route, experts: int) -> Cost:
    positions, channels = positions_of(way), way.channels_in
    return linear(positions, channels, experts) + linear(positions, channels * experts, channels)


def _layers(way: Route, chosen: Chosen, *, gated: bool) -> Cost:
    positions, channels, experts = positions_of(way), way.channels_in, int(chosen["num_experts"])
    hidden = hidden_width(channels, chosen["width"])
    bank = _bank(experts, positions, channels, hidden, gated=gated)
    return linear(positions, channels, experts) + bank.times(int(chosen["depth"]))


def _sorted(way: Route, chosen: Chosen) -> Cost:
    positions, channels = positions_of(way), way.channels_in
    taken = seats(positions, COMPANIONS, chosen["capacity"])
    return linear(positions, channels, COMPANIONS) + _bank(COMPANIONS, taken, channels, channels)


def _reduced(way: Route, chosen: Chosen) -> Cost:
    positions, channels = positions_of(way), way.channels_in
    return linear(positions, channels, COMPANIONS) + _bank(COMPANIONS, positions, channels, channels)


def _hierarchical(way: Route, chosen: Chosen) -> Cost:
    grids = [halved(way.grid_in)]
    while len(grids) < int(chosen["levels"]) - 1:
        grids.append(halved(grids[-1]))
    near = in_blocks(way, way.grid_in, WINDOW, way.channels_in)
    return near + total(attention(math.prod(grid), way.channels_in, way.channels_in) for grid in grids)


def _memory(way: Route, chosen: Chosen) -> Cost:
    positions, channels, slots = positions_of(way), way.channels_in, int(chosen["memory_slots"])
    return linear(positions, channels, channels).times(2) + linear(positions, channels, slots).times(2)


def _equation(way: Route, chosen: Chosen) -> Cost:
    field = linear(positions_of(way), way.channels_in, way.channels_in).times(2)
    return Cost(field.parameters, 4 * int(chosen["steps"]) * field.flops)


def _choice(way: Route, chosen: Chosen) -> Cost:
    positions, channels = positions_of(way), way.channels_in
    filters = [filtered(positions, channels, channels, taps_of(way, kernel), groups=channels) for kernel in (3, 5)]
    return total(filters) + linear(positions, channels, channels) + learned(5 + channels)


def _fast(way: Route, chosen: Chosen) -> Cost:
    positions, channels, steps = positions_of(way), way.channels_in, int(chosen["adapt_steps"])
    one_way = linear(positions, channels, FAST_RANK)
    products = (4 * steps + 2) * one_way.flops
    return Cost(2 * one_way.parameters + 1, products) + linear(positions, channels, channels)


def _recursive(way: Route, chosen: Chosen) -> Cost:
    block = linear(positions_of(way), way.channels_in, way.channels_in).times(2)
    return Cost(block.parameters, int(chosen["depth"]) * block.flops) + learned(way.channels_in)


EXPERIMENTAL: Mapping[str, Formula] = {
    "BP036": _mixture,
    "BP037": _hierarchical,
    "BP038": _memory,
    "BP039": _equation,
    "BP040": _choice,
    "BP041": _fast,
    "BP042": _recursive,
    "BP-ROUTER-TOP2": lambda way, chosen: _maps(way, int(chosen["experts"])),
    "BP-ROUTER-MOE-AUXLOSS": lambda way, chosen: _maps(way, COMPANIONS),
    "BP-LOAD-BAL-EMA": lambda way, chosen: _maps(way, COMPANIONS),
    "BP-EXPERT-MLP-1D": lambda way, chosen: _layers(way, chosen, gated=False),
    "BP-EXPERT-MLP-SWIGLU": lambda way, chosen: _layers(way, chosen, gated=True),
    "BP-CAP-FUSE-HFFN": _sorted,
    "BP-ALL-REDUCE-SHARD": _reduced,
}
