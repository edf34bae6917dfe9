"""Normalisation over the batch, and by the root mean square."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from esper.karn.modules.layers import ChannelGain, Grown, OnGrid
from esper.karn.route import Route
from esper.leyline.v1.enums_pb2 import SITE_KIND_IMAGE


class MixedBatchNorm(OnGrid):
    """BP006: x + g (BN(x) - x); the gain g is zero at birth. `momentum` is what its running means keep of the past.

    torch refuses to normalise a batch that is one single number per channel, in training only.
    """

    def __init__(self, way: Route, *, momentum: float) -> None:
        super().__init__(way)
        form = nn.BatchNorm2d if way.input_kind == SITE_KIND_IMAGE else nn.BatchNorm1d
        self.norm = form(way.channels_out, momentum=1.0 - momentum)
        self.gain = ChannelGain(way.channels_out, way.output_kind)

    def forward(self, features: Tensor) -> Tensor:
        """Return what replaces the host's features."""
        return features + self.gain(self.leave(self.norm(self.enter(features))) - features)


class RootMeanSquareNorm(Grown):
    """BP-LN-RMS (Zhang and Sennrich 2019): x + w (x / rms(x) - x), over channels; w is zero at birth."""

    def __init__(self, way: Route) -> None:
        super().__init__()
        self.channel = 1 if way.output_kind == SITE_KIND_IMAGE else -1
        self.weight = nn.Parameter(torch.zeros((way.channels_out, *((1, 1) if self.channel == 1 else ()))))

    def zero_at_birth(self) -> Iterable[Tensor]:
        """Return the weight."""
        return (self.weight,)

    def forward(self, features: Tensor) -> Tensor:
        """Return what replaces the host's features."""
        normed = features * torch.rsqrt(features.square().mean(self.channel, keepdim=True) + 1e-6)
        return features + self.weight * (normed - features)
