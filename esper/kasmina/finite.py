"""Whether a tensor holds nothing but finite numbers."""

import math

import torch
from torch import Tensor


def all_finite(numbers: Tensor) -> bool:
    """Tell whether every one of *numbers* is finite.

    A sum that is finite has finite terms, and costs one pass where a look at each takes several; only where the sum is
    not, because of one of them or because it is too large itself, each is looked at.
    """
    found = numbers.detach()
    return math.isfinite(found.sum().item()) or bool(torch.isfinite(found).all())
