"""Taps: they change nothing that flows forward."""

from typing import Any, cast

import torch
from torch import Tensor, fx, nn

from esper.karn.modules.layers import OnGrid, running_mean
from esper.karn.route import Route


class ActivationStatistics(OnGrid):
    """BP-MON-ACT-STATS: running mean and variance of each channel, and a running histogram, while it learns.

    What it returns is its input, to the bit. The numbers are buffers: `moments.running_mean`, `moments.running_var`,
    and `histogram.running_mean`, the shares of `bins` equal intervals from -REACH to REACH; torch's own running
    means keep them, so that evaluation leaves them alone.
    """

    REACH = 6.0
    MOMENTUM = 0.1

    def __init__(self, way: Route, *, bins: int) -> None:
        super().__init__(way)
        self.bins = bins
        self.moments = nn.BatchNorm1d(way.channels_in, momentum=self.MOMENTUM, affine=False)
        self.histogram = nn.BatchNorm1d(bins, momentum=self.MOMENTUM, affine=False)

    def forward(self, features: Tensor) -> Tensor:
        """Return *features*."""
        dtype = running_mean(self.moments).dtype
        seen_BCN = self.enter(features).detach().flatten(2)
        # Twice, because torch wants more than one number; it changes no mean.
        self.moments(seen_BCN.to(dtype).repeat(1, 1, 2))
        counts = torch.histc(seen_BCN.float(), self.bins, -self.REACH, self.REACH)
        self.histogram((counts / counts.sum().clamp(min=1.0)).to(dtype).unsqueeze(0).repeat(2, 1))
        return features


class _Clamped(torch.autograd.Function):
    """Its input, whose gradient is shortened to a greatest norm."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, norm: float) -> Tensor:
        ctx.norm = norm
        return features.view_as(features)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        gradient = gradients[0]
        longest: float = ctx.norm
        length = cast("Tensor", torch.linalg.vector_norm(gradient.float()))
        return gradient * (longest / length.clamp(min=longest)).to(gradient.dtype), None


class GradientClamp(nn.Module):
    """BP-CLAMP-GRAD-NORM: shortens the gradient that goes back through it to `norm`; forward it is the identity.

    A graph that is traced to be kept holds the identity alone.
    """

    def __init__(self, *, norm: float) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, features: Tensor) -> Tensor:
        """Return *features*."""
        if isinstance(features, fx.Proxy) or torch.compiler.is_compiling():
            return features
        return cast("Tensor", _Clamped.apply(features, self.norm))
