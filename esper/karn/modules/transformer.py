"""Whole layers: feed-forward nets, transformer layers, and a convolution beside attention."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from esper.karn.modules.attending import Attention
from esper.karn.modules.layers import Grown, OnPositions, channel_mix, convolution, entrance, projection, unflattened
from esper.karn.route import Route
from esper.karn.widths import padded

BLOCK_HEADS = 4
EXPANSION = 4


class FeedForward(Grown):
    """Two maps with GELU between, over the last dimension, without biases; the second is zero at birth."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.up = nn.Linear(channels, hidden, bias=False)
        self.act = nn.GELU()
        self.down = nn.Linear(hidden, channels, bias=False)

    def zero_at_birth(self) -> Iterable[Tensor]:
        """Return the second map."""
        return (self.down.weight,)

    def forward(self, features_BNC: Tensor) -> Tensor:
        """Return the map of the activated map."""
        return self.down(self.act(self.up(features_BNC)))


class EncoderLayer(nn.Module):
    """What a pre-norm transformer layer adds to its input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first_norm = nn.LayerNorm(channels)
        self.attention = Attention(channels, heads=BLOCK_HEADS, width=padded(channels, BLOCK_HEADS))
        self.second_norm = nn.LayerNorm(channels)
        self.feedforward = FeedForward(channels, EXPANSION * channels)

    def forward(self, features_BNC: Tensor) -> Tensor:
        """Return what to add."""
        gathered = self.attention(self.first_norm(features_BNC))
        return gathered + self.feedforward(self.second_norm(features_BNC + gathered))


class TransformerBlock(OnPositions):
    """BP023: what `layers` pre-norm encoder layers add to their input."""

    def __init__(self, way: Route, *, layers: int) -> None:
        super().__init__(way)
        self.layers = nn.ModuleList(EncoderLayer(way.channels_in) for _ in range(layers))

    def forward(self, features: Tensor) -> Tensor:
        """Return what to add to the host's features."""
        entered = self.enter(features)
        first, *others = self.layers
        added = first(entered)
        for layer in others:
            added = added + layer(entered + added)
        return self.leave(added)


class ConvolutionModule(OnPositions):
    """The middle of a conformer layer: a gated map, a filter per channel over positions, and a map, zero at birth."""

    def __init__(self, way: Route, *, kernel: int) -> None:
        super().__init__(way)
        channels = way.channels_in
        self.gated = nn.Linear(channels, 2 * channels, bias=False)
        self.filter = convolution(way.input_kind, channels, channels, kernel, groups=channels)
        self.mix = nn.Linear(channels, channels, bias=False)

    def zero_at_birth(self) -> Iterable[Tensor]:
        """Return the last map."""
        return (self.mix.weight,)

    def forward(self, features_BNC: Tensor) -> Tensor:
        """Return what to add, position by position."""
        on_grid = unflattened(F.glu(self.gated(features_BNC), -1).transpose(1, 2), 2, self.grid)
        return self.mix(F.silu(self.filter(on_grid).flatten(2).transpose(1, 2)))


class ConvolutionTransformer(OnPositions):
    """BP024 (after Gulati et al. 2020): attention, a convolution module and a feed-forward net, one after another."""

    def __init__(self, way: Route, *, kernel: int) -> None:
        super().__init__(way)
        channels = way.channels_in
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(3))
        self.attention = Attention(channels, heads=BLOCK_HEADS, width=padded(channels, BLOCK_HEADS))
        self.convolution = ConvolutionModule(way, kernel=kernel)
        self.feedforward = FeedForward(channels, EXPANSION * channels)

    def forward(self, features: Tensor) -> Tensor:
        """Return what to add to the host's features."""
        entered = self.enter(features)
        added = self.attention(self.norms[0](entered))
        added = added + self.convolution(self.norms[1](entered + added))
        return self.leave(added + self.feedforward(self.norms[2](entered + added)))


class WideFeedForward(Grown):
    """BP-MLP-GELU-2048: two maps with GELU between, with biases; the second is zero at birth."""

    def __init__(self, way: Route, *, hidden: int) -> None:
        super().__init__()
        self.entrance = entrance(way)
        self.up = projection(way, hidden, bias=True)
        self.act = nn.GELU()
        self.down = channel_mix(way.output_kind, hidden, way.channels_out, bias=True)

    def zero_at_birth(self) -> Iterable[Tensor]:
        """Return the second map."""
        return self.down.parameters()

    def forward(self, features: Tensor) -> Tensor:
        """Return what to add to the host's features."""
        return self.down(self.act(self.up(self.entrance(features))))


class FusedGatedFeedForward(Grown):
    """BP-MLP-SWIGLU-4096 (Shazeer 2020): SwiGLU without biases, gate and value in one map."""

    def __init__(self, way: Route, *, hidden: int) -> None:
        super().__init__()
        self.channel = 1 if len(way.grid_out) == 2 else -1
        self.entrance = entrance(way)
        self.gate_value = projection(way, 2 * hidden, bias=False)
        self.down = channel_mix(way.output_kind, hidden, way.channels_out, bias=False)

    def zero_at_birth(self) -> Iterable[Tensor]:
        """Return the last map."""
        return (self.down.weight,)

    def forward(self, features: Tensor) -> Tensor:
        """Return what to add to the host's features."""
        gate, value = torch.chunk(self.gate_value(self.entrance(features)), 2, self.channel)
        return self.down(F.silu(gate) * value)
