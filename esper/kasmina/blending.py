"""How a seed's output joins the host's activation."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from esper.leyline.v1.enums_pb2 import BlendMode

# Every function is elementwise: *host* and *seed* have one shape, *alpha* is a 0-dim tensor in [0, 1].


def convex(host: Tensor, seed: Tensor, alpha: Tensor) -> Tensor:
    """Walk from *host* to *seed*: `h + alpha * (s - h)`. At alpha 0 the host's bits, whatever the seed says."""
    return torch.where(alpha == 0, host, host + alpha * (seed - host))


def residual(host: Tensor, seed: Tensor, alpha: Tensor) -> Tensor:
    """Add a share of *seed* to *host*: `h + alpha * s`. At alpha 0 the host's bits, whatever the seed says."""
    return torch.where(alpha == 0, host, host + alpha * seed)


BLENDS: Mapping[BlendMode, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    BlendMode.BLEND_MODE_CONVEX: convex,
    BlendMode.BLEND_MODE_RESIDUAL: residual,
}


def contribution(host: Tensor, seed: Tensor, mode: BlendMode) -> Tensor:
    """Return what the host's activation gains at alpha 1: the seed itself, or its difference to the host."""
    return seed - host if mode == BlendMode.BLEND_MODE_CONVEX else seed
