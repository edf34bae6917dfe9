"""The pieces that all modules are put together from."""

import math
from collections.abc import Iterable, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from esper.karn.route import Route
from esper.leyline.v1.enums_pb2 import SITE_KIND_IMAGE, SITE_KIND_SEQUENCE, SiteKind

# Dimensions: B batch, T time, C channels, H height, W width, N positions, G of the grid: (), (T) or (H, W).


class Grown(nn.Module):
    """A module that says which of its parameters are zero at birth, and draws those that stand in no torch layer."""

    def zero_at_birth(self) -> Iterable[Tensor]:
        """Return the one zero factor of each path through this module's own part."""
        return ()

    def draw(self, generator: torch.Generator) -> None:
        """Give its bare parameters their first values; the layers of torch.nn inside have theirs by then."""


class OnPositions(Grown):
    """Reads its input as a row of positions (B, N, C): an image's pixels, a sequence, or a vector as one position."""

    def __init__(self, way: Route) -> None:
        super().__init__()
        self.kind, self.grid, self.positions = way.input_kind, way.grid_in, math.prod(way.grid_in)

    def enter(self, features: Tensor) -> Tensor:
        """Return *features* as (B, N, C)."""
        if self.kind == SITE_KIND_IMAGE:
            return features.flatten(2).transpose(1, 2)
        return features if self.kind == SITE_KIND_SEQUENCE else features.unsqueeze(1)

    def leave(self, features_BNC: Tensor) -> Tensor:
        """Return what `enter` read, in the site's own layout."""
        if self.kind == SITE_KIND_IMAGE:
            return unflattened(features_BNC.transpose(1, 2), 2, self.grid)
        return features_BNC if self.kind == SITE_KIND_SEQUENCE else features_BNC.squeeze(1)


class OnGrid(Grown):
    """Reads its input channels first (B, C, G): an image as it is, a sequence turned, a vector as one position."""

    def __init__(self, way: Route) -> None:
        super().__init__()
        self.kind = way.input_kind
        self.grid = way.grid_in or (1,)

    def enter(self, features: Tensor) -> Tensor:
        """Return *features* as (B, C, G)."""
        if self.kind == SITE_KIND_SEQUENCE:
            return features.transpose(1, 2)
        return features if self.kind == SITE_KIND_IMAGE else features.unsqueeze(2)

    def leave(self, features_BCG: Tensor) -> Tensor:
        """Return what `enter` read, in the site's own layout."""
        if self.kind == SITE_KIND_SEQUENCE:
            return features_BCG.transpose(1, 2)
        return features_BCG if self.kind == SITE_KIND_IMAGE else features_BCG.squeeze(2)


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


def convolution(
    kind: SiteKind, channels_in: int, channels_out: int, kernel: int, *, groups: int = 1, dilation: int = 1
) -> nn.Conv1d | nn.Conv2d:
    """Return a convolution that keeps the grid, over features as `OnGrid` reads them, without bias."""
    form = nn.Conv2d if kind == SITE_KIND_IMAGE else nn.Conv1d
    padding = dilation * (kernel // 2)
    return form(channels_in, channels_out, kernel, padding=padding, dilation=dilation, groups=groups, bias=False)


def unflattened(features: Tensor, dimension: int, sizes: Sequence[int]) -> Tensor:
    """Return *features* with *dimension* split into *sizes*; torch leaves its own method half typed."""
    return cast("Tensor", features.unflatten(dimension, sizes))


def running_mean(norm: nn.BatchNorm1d) -> Tensor:
    """Return the running mean that *norm* keeps."""
    return cast("Tensor", norm.running_mean)


def coarser(kind: SiteKind, grid: Sequence[int]) -> nn.AdaptiveAvgPool1d | nn.AdaptiveAvgPool2d:
    """Return what averages features (B, C, G) down to *grid*."""
    return nn.AdaptiveAvgPool2d((grid[0], grid[1])) if kind == SITE_KIND_IMAGE else nn.AdaptiveAvgPool1d(grid[0])


def finer(grid: Sequence[int]) -> nn.Upsample:
    """Return what repeats features (B, C, G) up to *grid*."""
    return nn.Upsample(size=tuple(grid), mode="nearest")


def widened(features: Tensor, dimension: int, missing: int) -> Tensor:
    """Return *features* with *missing* zeros at the end of *dimension*, counted from the last (-1)."""
    return F.pad(features, (0, 0) * (-dimension - 1) + (0, missing)) if missing else features


def counted(like: Tensor, count: int) -> Tensor:
    """Return 0, 1, ... as single-precision numbers on the device of *like*.

    Not `arange`: a traced graph would hold its result as a constant of the device that traced it.
    """
    return like.new_ones(count, dtype=torch.float32).cumsum(0) - 1.0


def uniform(parameter: Tensor, fan_in: int, generator: torch.Generator) -> None:
    """Draw from +-1/sqrt(fan in), as torch does for its own linear layers."""
    limit = fan_in**-0.5
    nn.init.uniform_(parameter, -limit, limit, generator=generator)
