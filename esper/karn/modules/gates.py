"""Gates: how much of a channel, of a place, or of a transformed value is let through."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from esper.karn.modules.layers import ChannelGain, Grown, OnGrid, channel_mix, convolution, widened
from esper.karn.route import Route
from esper.karn.widths import padded


class HighwayGate(Grown):
    """BP014 (after Srivastava et al. 2015): x + g T (H - x), a gate T that begins at `bias`; the gain g is zero."""

    def __init__(self, way: Route, *, bias: float) -> None:
        super().__init__()
        channels = way.channels_out
        self.bias = bias
        self.gate = channel_mix(way.output_kind, channels, channels, bias=True)
        self.transform = channel_mix(way.output_kind, channels, channels, bias=False)
        self.act = nn.GELU()
        self.gain = ChannelGain(channels, way.output_kind)

    def draw(self, generator: torch.Generator) -> None:
        """Let the gate begin where it was asked to."""
        if self.gate.bias is not None:
            nn.init.constant_(self.gate.bias, self.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Return what replaces the host's features."""
        opened = torch.sigmoid(self.gate(features))
        return features + self.gain(opened * (self.act(self.transform(features)) - features))


class ChannelAttention(OnGrid):
    """BP017 (after Woo et al. 2018): channels times 2 sigmoid(f(mean) + f(greatest)), f in groups, zero at birth."""

    REDUCTION = 4

    def __init__(self, way: Route, *, heads: int) -> None:
        super().__init__(way)
        self.channels = way.channels_in
        width = padded(way.channels_in, heads)
        hidden = heads * math.ceil(width / (self.REDUCTION * heads))
        self.missing = width - way.channels_in
        self.squeeze = nn.Conv1d(width, hidden, 1, groups=heads)
        self.act = nn.ReLU()
        self.excite = nn.Conv1d(hidden, width, 1, groups=heads)

    def zero_at_birth(self) -> Iterable[Tensor]:
        """Return the second map."""
        return self.excite.parameters()

    def forward(self, features: Tensor) -> Tensor:
        """Return what replaces the host's features."""
        entered = self.enter(features)
        flat_BCN = widened(entered.flatten(2), -2, self.missing)
        seen = [flat_BCN.mean(2, keepdim=True), flat_BCN.amax(2, keepdim=True)]
        first, second = (self.act(self.squeeze(described)) for described in seen)
        gate_BC = torch.sigmoid(self.excite(first + second)).squeeze(2).narrow(1, 0, self.channels) * 2.0
        return self.leave(entered * gate_BC[(slice(None), slice(None), *(None for _ in self.grid))])


class SpatialAttention(OnGrid):
    """BP018 (after Woo et al. 2018): places times 2 sigmoid(filter of the channels' mean and greatest); filter zero."""

    def __init__(self, way: Route, *, radius: int) -> None:
        super().__init__(way)
        self.filter = convolution(way.input_kind, 2, 1, 2 * radius + 1)
        self.offset = nn.Parameter(torch.zeros(1))

    def zero_at_birth(self) -> Iterable[Tensor]:
        """Return filter and offset, which are added."""
        return (self.filter.weight, self.offset)

    def forward(self, features: Tensor) -> Tensor:
        """Return what replaces the host's features."""
        entered = self.enter(features)
        seen = torch.cat([entered.mean(1, keepdim=True), entered.amax(1, keepdim=True)], 1)
        return self.leave(entered * (torch.sigmoid(self.filter(seen) + self.offset) * 2.0))
