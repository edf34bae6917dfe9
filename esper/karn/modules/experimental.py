"""The experimental blueprints beside mixtures of experts."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from esper.karn.modules.attending import Attention, Blocks
from esper.karn.modules.layers import (
    ChannelGain,
    Grown,
    OnGrid,
    OnPositions,
    channel_mix,
    coarser,
    convolution,
    finer,
    unflattened,
    uniform,
)
from esper.karn.route import Route
from esper.karn.widths import WINDOW, halved
from esper.leyline.v1.enums_pb2 import SITE_KIND_IMAGE

FAST_RANK = 16


class HierarchicalAttention(OnPositions):
    """BP037: attention inside windows, then among means over ever larger patches, each with weights of its own."""

    def __init__(self, way: Route, *, levels: int) -> None:
        super().__init__(way)
        grids = [halved(way.grid_in)]
        while len(grids) < levels - 1:
            grids.append(halved(grids[-1]))
        channels = way.channels_in
        self.blocks = Blocks(way.grid_in, WINDOW)
        self.near = Attention(channels, heads=1, width=channels)
        self.far = nn.ModuleList(Attention(channels, heads=1, width=channels) for _ in grids)
        self.pools = nn.ModuleList(coarser(way.input_kind, grid) for grid in grids)
        self.grids = grids
        self.back = finer(way.grid_in)

    def forward(self, features: Tensor) -> Tensor:
        """Return what to add to the host's features."""
        entered = self.enter(features)
        mask = self.blocks.mask(entered)
        masked = None if mask is None else mask.unsqueeze(2)
        added = self.blocks.joined(self.near(self.blocks.cut(entered), masked))
        on_grid = unflattened(entered.transpose(1, 2), 2, self.grid)
        for attention, pool, grid in zip(self.far, self.pools, self.grids, strict=True):
            patches = attention(pool(on_grid).flatten(2).transpose(1, 2))
            added = added + self.back(unflattened(patches.transpose(1, 2), 2, grid)).flatten(2).transpose(1, 2)
        return self.leave(added)


class MemoryReader(OnPositions):
    """BP038: each position reads a learned memory of keys and values; the map of what it read is zero at birth."""

    def __init__(self, way: Route, *, slots: int) -> None:
        super().__init__(way)
        channels = way.channels_in
        self.channels = channels
        self.query = nn.Linear(channels, channels, bias=False)
        self.keys = nn.Parameter(torch.empty(slots, channels))
        self.values = nn.Parameter(torch.empty(slots, channels))
        self.out = nn.Linear(channels, channels, bias=False)

    def zero_at_birth(self) -> Iterable[Tensor]:
        """Return the last map."""
        return (self.out.weight,)

    def draw(self, generator: torch.Generator) -> None:
        """Draw the memory."""
        for parameter in (self.keys, self.values):
            nn.init.normal_(parameter, generator=generator)

    def forward(self, features: Tensor) -> Tensor:
        """Return what to add to the host's features."""
        query = self.query(self.enter(features))
        weights = torch.softmax(F.linear(query, self.keys) * self.channels**-0.5, -1)
        return self.leave(self.out(weights @ self.values))


class OrdinaryDifferentialEquation(Grown):
    """BP039 (after Chen et al. 2018): where a learned field carries the features in one unit of time, less the start.

    Runge and Kutta's fourth-order rule with `steps` equal steps; the field's last map is zero at birth.
    """

    def __init__(self, way: Route, *, steps: int) -> None:
        super().__init__()
        channels = way.channels_in
        self.steps = steps
        self.inner = channel_mix(way.output_kind, channels, channels, bias=False)
        self.outer = channel_mix(way.output_kind, channels, channels, bias=False)

    def zero_at_birth(self) -> Iterable[Tensor]:
        """Return the field's last map."""
        return (self.outer.weight,)

    def forward(self, features: Tensor) -> Tensor:
        """Return what to add to the host's features."""
        length, moved = 1.0 / self.steps, features
        for _ in range(self.steps):
            first = self._field(moved)
            second = self._field(moved + first * (length / 2.0))
            third = self._field(moved + second * (length / 2.0))
            fourth = self._field(moved + third * length)
            moved = moved + (first + second * 2.0 + third * 2.0 + fourth) * (length / 6.0)
        return moved - features

    def _field(self, features: Tensor) -> Tensor:
        return self.outer(torch.tanh(self.inner(features)))


class ArchitectureMix(OnGrid):
    """BP040 (after Liu et al. 2019): a learned soft choice of five operations; a gain, zero at birth, lets it out.

    Nothing, the features themselves, filters of three and of five, and a map over channels.
    """

    CHOICES = 5

    def __init__(self, way: Route, *, temperature: float) -> None:
        super().__init__(way)
        kind, channels = way.input_kind, way.channels_in
        self.temperature = temperature
        self.preference = nn.Parameter(torch.empty(self.CHOICES))
        self.near = convolution(kind, channels, channels, 3, groups=channels)
        self.far = convolution(kind, channels, channels, 5, groups=channels)
        self.mix = convolution(kind, channels, channels, 1)
        self.gain = ChannelGain(channels, way.output_kind)

    def draw(self, generator: torch.Generator) -> None:
        """Begin with slight preferences: equal ones would be equal at any temperature."""
        nn.init.normal_(self.preference, std=0.1, generator=generator)

    def forward(self, features: Tensor) -> Tensor:
        """Return what to add to the host's features."""
        entered = self.enter(features)
        share = torch.softmax(self.preference / self.temperature, 0)
        # The first share is that of adding nothing.
        mixed = entered * share[1] + self.near(entered) * share[2] + self.far(entered) * share[3]
        return self.gain(self.leave(mixed + self.mix(entered) * share[4]))


class FastWeights(OnPositions):
    """BP041 (after Ba et al. 2016; Sun et al. 2024): a low-rank map that first adapts itself to each sample.

    In `steps` steps of a learned length it learns to give the sample's own positions back; the gradient is written
    out, so that it adapts in evaluation, too. The slow map of what it says is zero at birth.
    """

    def __init__(self, way: Route, *, steps: int) -> None:
        super().__init__(way)
        channels = way.channels_in
        self.steps, self.channels = steps, channels
        self.down = nn.Parameter(torch.empty(FAST_RANK, channels))
        self.up = nn.Parameter(torch.empty(channels, FAST_RANK))
        self.rate = nn.Parameter(torch.empty(1))
        self.slow = nn.Linear(channels, channels, bias=False)

    def zero_at_birth(self) -> Iterable[Tensor]:
        """Return the slow map."""
        return (self.slow.weight,)

    def draw(self, generator: torch.Generator) -> None:
        """Draw the map that adapts; the rate begins at sigmoid(-1), about 0.27."""
        uniform(self.down, self.channels, generator)
        uniform(self.up, FAST_RANK, generator)
        nn.init.constant_(self.rate, -1.0)

    def forward(self, features: Tensor) -> Tensor:
        """Return what to add to the host's features."""
        entered = self.enter(features)
        given_BNC = entered * torch.rsqrt(entered.square().mean(-1, keepdim=True) + 1e-6) * self.channels**-0.5
        rate = torch.sigmoid(self.rate) / self.positions
        down_BRC = self.down.unsqueeze(0)
        for _ in range(self.steps):
            missed_BNC = given_BNC @ down_BRC.transpose(1, 2) @ self.up.t() - given_BNC
            slope_BRC = (missed_BNC @ self.up).transpose(1, 2) @ given_BNC
            down_BRC = down_BRC - slope_BRC * rate
        return self.leave(self.slow(given_BNC @ down_BRC.transpose(1, 2) @ self.up.t()))


class RecursiveBlock(Grown):
    """BP042 (after Graves 2016): one block applied again and again, each place for as long as a gate lets it go on."""

    def __init__(self, way: Route, *, depth: int) -> None:
        super().__init__()
        channels = way.channels_in
        self.depth = depth
        self.channel = 1 if way.output_kind == SITE_KIND_IMAGE else -1
        self.inner = channel_mix(way.output_kind, channels, channels, bias=False)
        self.outer = channel_mix(way.output_kind, channels, channels, bias=False)
        self.halt = nn.Parameter(torch.empty((channels, 1, 1) if self.channel == 1 else (channels,)))

    def zero_at_birth(self) -> Iterable[Tensor]:
        """Return the block's last map."""
        return (self.outer.weight,)

    def draw(self, generator: torch.Generator) -> None:
        """Draw the gate."""
        uniform(self.halt, self.halt.numel(), generator)

    def forward(self, features: Tensor) -> Tensor:
        """Return what to add to the host's features."""
        moved, going = features, None
        for _ in range(self.depth):
            stays = torch.sigmoid(-(moved * self.halt).sum(self.channel, keepdim=True))
            going = stays if going is None else going * stays
            moved = moved + going * self.outer(F.gelu(self.inner(moved)))
        return moved - features
