"""Convolutions of many kinds; on vectors, which have no neighbours, they are maps over channels."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from esper.karn.modules.layers import ChannelGain, OnGrid, convolution, unflattened, uniform, widened
from esper.karn.route import Route
from esper.karn.widths import padded
from esper.leyline.v1.enums_pb2 import SITE_KIND_IMAGE, SITE_KIND_VECTOR


class ConcatFusion(OnGrid):
    """BP010: branches that see 1, 3, 5, ... neighbours, side by side, and a map that fuses them, zero at birth."""

    def __init__(self, way: Route, *, branches: int) -> None:
        super().__init__(way)
        width = math.ceil(way.channels_in / branches)
        reach = [1 if way.input_kind == SITE_KIND_VECTOR else 2 * index + 1 for index in range(branches)]
        self.branches = nn.ModuleList(convolution(way.input_kind, way.channels_in, width, kernel) for kernel in reach)
        self.act = nn.GELU()
        self.fuse = convolution(way.input_kind, branches * width, way.channels_out, 1)

    def zero_at_birth(self) -> Iterable[Tensor]:
        """Return the fusing map."""
        return (self.fuse.weight,)

    def forward(self, features: Tensor) -> Tensor:
        """Return what to add to the host's features."""
        entered = self.enter(features)
        side_by_side = torch.cat([branch(entered) for branch in self.branches], 1)
        return self.leave(self.fuse(self.act(side_by_side)))


class GroupedConvolution(OnGrid):
    """BP013: channels in groups that do not see each other (3x3 on images, else a block-diagonal map), times a gain."""

    def __init__(self, way: Route, *, groups: int) -> None:
        super().__init__(way)
        self.channels = way.channels_in
        width = padded(way.channels_in, groups)
        self.missing = width - way.channels_in
        kernel = 3 if way.input_kind == SITE_KIND_IMAGE else 1
        self.grouped = convolution(way.input_kind, width, width, kernel, groups=groups)
        self.gain = ChannelGain(way.channels_out, way.output_kind)

    def forward(self, features: Tensor) -> Tensor:
        """Return what to add to the host's features."""
        entered = self.enter(features)
        grouped = self.grouped(widened(entered, -1 - len(self.grid), self.missing))
        return self.gain(self.leave(grouped.narrow(1, 0, self.channels)))


class DynamicConvolution(OnGrid):
    """BP025 (after Chen et al. 2020): a filter per channel, mixed for each sample from `experts` filters."""

    def __init__(self, way: Route, *, experts: int) -> None:
        super().__init__(way)
        channels = way.channels_in
        self.experts = experts
        self.router = nn.Linear(channels, experts, bias=False)
        self.filters = convolution(way.input_kind, channels, channels * experts, 3, groups=channels)
        self.act = nn.GELU()
        self.mix = convolution(way.input_kind, channels, way.channels_out, 1)

    def zero_at_birth(self) -> Iterable[Tensor]:
        """Return the last map."""
        return (self.mix.weight,)

    def forward(self, features: Tensor) -> Tensor:
        """Return what to add to the host's features."""
        entered = self.enter(features)
        share_BE = torch.softmax(self.router(entered.flatten(2).mean(2)), -1)
        filtered = unflattened(self.filters(entered), 1, (-1, self.experts))
        share = share_BE[(slice(None), None, slice(None), *(None for _ in self.grid))]
        return self.leave(self.mix(self.act((filtered * share).sum(2))))


class DenseConnection(OnGrid):
    """BP028 (after Huang et al. 2017): three layers, each reading all before it, and a map back, zero at birth."""

    LAYERS = 3

    def __init__(self, way: Route, *, growth: int) -> None:
        super().__init__(way)
        kind, channels = way.input_kind, way.channels_in
        kernel = 3 if kind == SITE_KIND_IMAGE else 1
        self.layers = nn.ModuleList(
            convolution(kind, channels + index * growth, growth, kernel) for index in range(self.LAYERS)
        )
        self.act = nn.GELU()
        self.back = convolution(kind, channels + self.LAYERS * growth, way.channels_out, 1)

    def zero_at_birth(self) -> Iterable[Tensor]:
        """Return the map back."""
        return (self.back.weight,)

    def forward(self, features: Tensor) -> Tensor:
        """Return what to add to the host's features."""
        read = self.enter(features)
        for layer in self.layers:
            read = torch.cat([read, self.act(layer(read))], 1)
        return self.leave(self.back(read))


class TemporalConvolution(OnGrid):
    """BP031 (after Bai et al. 2018): a filter over earlier steps, `dilation` apart; an image's rows are time."""

    def __init__(self, way: Route, *, dilation: int) -> None:
        super().__init__(way)
        channels = way.channels_in
        self.before = (2 * dilation, 0)
        if way.input_kind == SITE_KIND_IMAGE:
            self.filter: nn.Module = nn.Conv2d(
                channels, channels, (1, 3), dilation=(1, dilation), groups=channels, bias=False
            )
        else:
            self.filter = nn.Conv1d(channels, channels, 3, dilation=dilation, groups=channels, bias=False)
        self.act = nn.GELU()
        self.mix = convolution(way.input_kind, channels, way.channels_out, 1)

    def zero_at_birth(self) -> Iterable[Tensor]:
        """Return the last map."""
        return (self.mix.weight,)

    def forward(self, features: Tensor) -> Tensor:
        """Return what to add to the host's features."""
        return self.leave(self.mix(self.act(self.filter(F.pad(self.enter(features), self.before)))))


class DilatedConvolution(OnGrid):
    """BP032 (after Yu and Koltun 2016): three separable convolutions, each reaching further than the one before."""

    def __init__(self, way: Route, *, dilation: int) -> None:
        super().__init__(way)
        kind, channels = way.input_kind, way.channels_in
        reach = (1, math.ceil(dilation / 2), dilation)
        self.filters = nn.ModuleList(
            convolution(kind, channels, channels, 3, groups=channels, dilation=step) for step in reach
        )
        self.mixes = nn.ModuleList(convolution(kind, channels, channels, 1) for _ in reach)
        self.act = nn.GELU()

    def zero_at_birth(self) -> Iterable[Tensor]:
        """Return the last map."""
        return self.mixes[-1].parameters()

    def forward(self, features: Tensor) -> Tensor:
        """Return what to add to the host's features."""
        read = self.enter(features)
        first, second, third = self.filters
        read = self.act(self.mixes[0](first(read)))
        read = self.act(self.mixes[1](second(read)))
        return self.leave(self.mixes[2](third(read)))


class DeformableConvolution(OnGrid):
    """BP033 (after Dai et al. 2017): a 3x3 filter whose taps move to where a learned offset points.

    The offsets begin at zero and the last map is zero: the offsets are no factor of the way through the image.
    """

    TAPS = 9

    def __init__(self, way: Route, *, offset_groups: int) -> None:
        super().__init__(way)
        channels = way.channels_in
        self.channels, self.groups = channels, offset_groups
        self.missing = padded(channels, offset_groups) - channels
        self.offsets = convolution(way.input_kind, channels, 2 * self.TAPS * offset_groups, 3)
        self.taps = nn.Parameter(torch.empty(channels, self.TAPS, 1, 1))
        self.mix = convolution(way.input_kind, channels, way.channels_out, 1)

    def zero_at_birth(self) -> Iterable[Tensor]:
        """Return the offsets' map, and the last one."""
        return (self.offsets.weight, self.mix.weight)

    def draw(self, generator: torch.Generator) -> None:
        """Draw the filter."""
        uniform(self.taps, self.TAPS, generator)

    def forward(self, features: Tensor) -> Tensor:
        """Return what to add to the host's features."""
        height = self.grid[0]
        grouped = unflattened(widened(features, -3, self.missing), 1, (self.groups, -1)).flatten(0, 1)
        sampled = F.grid_sample(grouped, self._places(features).to(grouped.dtype), align_corners=False)
        taps = unflattened(unflattened(sampled, 2, (self.TAPS, height)), 0, (-1, self.groups)).flatten(1, 2)
        return self.mix((taps.narrow(1, 0, self.channels) * self.taps).sum(2))

    def _places(self, features: Tensor) -> Tensor:
        """Return where each tap of each group looks: (B G, 9 H, W, x and y), from -1 to 1."""
        height, width = self.grid[0], self.grid[-1]
        moved = unflattened(self.offsets(features), 1, (self.groups, self.TAPS, 2)).flatten(0, 1)
        rows = features.new_ones(height, width, dtype=torch.float32).cumsum(0) - 0.5
        columns = features.new_ones(height, width, dtype=torch.float32).cumsum(1) - 0.5
        tap = features.new_ones(self.TAPS, dtype=torch.float32).cumsum(0) - 1.0
        down = torch.floor(tap / 3.0)
        across = tap - 3.0 * down
        x = (columns + (across - 1.0)[:, None, None] + moved[:, :, 0]) * (2.0 / width) - 1.0
        y = (rows + (down - 1.0)[:, None, None] + moved[:, :, 1]) * (2.0 / height) - 1.0
        return torch.stack([x, y], -1).flatten(1, 2)
