"""What treats every channel by itself: activations, gains, and dropout."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from esper.karn.modules.layers import ChannelGain, Grown, entrance, projection
from esper.karn.route import Route


class LightDropout(nn.Module):
    """BP004: drops channels' numbers while it learns, and is the identity in evaluation."""

    def __init__(self, *, share: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(share)

    def forward(self, features: Tensor) -> Tensor:
        """Return what replaces the host's features."""
        return self.dropout(features)


class MixedActivation(nn.Module):
    """BP005 and BP011: x + g (act(x) - x); the gain g is zero at birth."""

    def __init__(self, way: Route, activation: nn.Module) -> None:
        super().__init__()
        self.act = activation
        self.gain = ChannelGain(way.channels_out, way.output_kind)

    def forward(self, features: Tensor) -> Tensor:
        """Return what replaces the host's features."""
        return features + self.gain(self.act(features) - features)


class LayerScale(nn.Module):
    """BP012 (after Touvron et al. 2021): x (1 + scale tanh(g)), a factor per channel, one at birth.

    It is never further from one than `scale`.
    """

    def __init__(self, way: Route, *, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.layer = ChannelGain(way.channels_out, way.output_kind)

    def forward(self, features: Tensor) -> Tensor:
        """Return what replaces the host's features."""
        return features * (torch.tanh(self.layer.gain) * self.scale + 1.0)


class InfusedGain(Grown):
    """BP-PROJ-IA3 (Liu et al. 2022): x (1 + g) with one learned number per channel, zero at birth."""

    def __init__(self, way: Route) -> None:
        super().__init__()
        self.infused = ChannelGain(way.channels_out, way.output_kind)

    def forward(self, features: Tensor) -> Tensor:
        """Return what replaces the host's features."""
        return features * (self.infused.gain + 1.0)


class SkipGain(nn.Module):
    """BP008 where input and output are one tensor: adds g x, with one gain per channel, zero at birth."""

    def __init__(self, way: Route) -> None:
        super().__init__()
        self.gain = ChannelGain(way.channels_out, way.output_kind)

    def forward(self, features: Tensor) -> Tensor:
        """Return what to add to the host's features."""
        return self.gain(features)


class SkipProjection(Grown):
    """BP008 over a span: a linear map from the span's input to its output, zero at birth."""

    def __init__(self, way: Route) -> None:
        super().__init__()
        self.entrance = entrance(way)
        self.projection = projection(way, way.channels_out, bias=False)

    def zero_at_birth(self) -> Iterable[Tensor]:
        """Return the map."""
        return (self.projection.weight,)

    def forward(self, features: Tensor) -> Tensor:
        """Return what to add to the host's features."""
        return self.projection(self.entrance(features))


def skip_connection(way: Route) -> nn.Module:
    """Return the form of BP008 that *way* needs."""
    return SkipGain(way) if way.preserving else SkipProjection(way)
