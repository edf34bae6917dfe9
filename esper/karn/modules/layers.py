"""The pieces that all modules are put together from."""

import math

import torch
from torch import Tensor, nn

from esper.karn.route import Route
from esper.leyline.v1.enums_pb2 import SITE_KIND_IMAGE, SITE_KIND_SEQUENCE, SiteKind

# Dimensions: B batch, T time, C channels, H height, W width.


class PooledTime(nn.Module):
    """Averages a sequence over time, down to `steps` positions."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool1d(steps)

    def forward(self, sequence_BTC: Tensor) -> Tensor:
        """Return the shorter sequence."""
        return self.pool(sequence_BTC.transpose(1, 2)).transpose(1, 2)


class ChannelGain(nn.Module):
    """Multiplies each channel by a number that it learns, zero at first."""

    def __init__(self, channels: int, kind: SiteKind) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.zeros((channels, 1, 1) if kind == SITE_KIND_IMAGE else (channels,)))

    def forward(self, features: Tensor) -> Tensor:
        """Return *features* times the gain."""
        return features * self.gain


def entrance(way: Route) -> nn.Module:
    """Return what brings the input to the positions that a linear map of *way* reads."""
    if not way.pools:
        return nn.Flatten() if way.flat else nn.Identity()
    if way.input_kind == SITE_KIND_SEQUENCE:
        pool: nn.Module = PooledTime(way.pooled[0])
    else:
        pool = nn.AdaptiveAvgPool2d((way.pooled[0], way.pooled[1]))
    return nn.Sequential(pool, nn.Flatten()) if way.flat else pool


def projection(way: Route, width: int, *, bias: bool) -> nn.Linear | nn.Conv2d:
    """Return a linear map from the entrance of *way* to *width* channels on its output's positions."""
    if way.output_kind == SITE_KIND_IMAGE:
        step = (way.patch[0], way.patch[1])
        return nn.Conv2d(way.channels_in, width, kernel_size=step, stride=step, bias=bias)
    return nn.Linear(way.channels_in * math.prod(way.pooled) if way.flat else way.channels_in, width, bias=bias)


def channel_mix(kind: SiteKind, channels_in: int, channels_out: int, *, bias: bool) -> nn.Linear | nn.Conv2d:
    """Return a linear map over channels that treats all positions alike."""
    if kind == SITE_KIND_IMAGE:
        return nn.Conv2d(channels_in, channels_out, kernel_size=1, bias=bias)
    return nn.Linear(channels_in, channels_out, bias=bias)
