"""The mean over all processes of a torch.distributed group, forward and backward."""

from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor


class _Mean(torch.autograd.Function):
    """Every rank's mean; the gradient of a mean that all ranks read is the mean of their gradients."""

    @staticmethod
    def forward(ctx: Any, mine: Tensor) -> Tensor:
        return _mean(mine)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _mean(gradients[0])


def mean_over_ranks(mine: Tensor) -> Tensor:
    """Return the mean of *mine* and what the other ranks pass; all ranks must call it, in the same order."""
    return cast("Tensor", _Mean.apply(mine))


def _mean(mine: Tensor) -> Tensor:
    total = mine.detach().clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    return total / dist.get_world_size()
