"""The simplest way to grow: wider hidden layers whose new units are listened to from zero."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


def hidden_pairs(model: nn.Module) -> list[tuple[nn.Linear, nn.Linear]]:
    """Return the linear layers that share hidden units: what makes them, and what reads them."""
    found: list[tuple[nn.Linear, nn.Linear]] = []
    for part in model.modules():
        if isinstance(part, nn.Sequential):
            layers = [layer for layer in part if isinstance(layer, nn.Linear)]
            found += pairwise(layers)
    return found


@torch.no_grad()
def widen(model: nn.Module, optimizer: Optimizer, units: int) -> None:
    """Give every hidden layer *units* more; what the model computes stays the same, and so do Adam's moments."""
    for maker, reader in hidden_pairs(model):
        fresh = nn.Linear(maker.in_features, units)
        _replace(maker, "weight", optimizer, torch.cat([maker.weight, fresh.weight]))
        _replace(maker, "bias", optimizer, torch.cat([maker.bias, fresh.bias]))
        unheard = torch.zeros(reader.out_features, units)
        _replace(reader, "weight", optimizer, torch.cat([reader.weight, unheard], 1))
        maker.out_features += units
        reader.in_features += units


def _replace(layer: nn.Linear, name: str, optimizer: Optimizer, larger: Tensor) -> None:
    old, new = getattr(layer, name), nn.Parameter(larger)
    setattr(layer, name, new)
    for group in optimizer.param_groups:
        group["params"] = [new if held is old else held for held in group["params"]]
    moments = optimizer.state.pop(old, {})
    optimizer.state[new] = {
        kind: value if value.ndim == 0 else _padded(value, larger.shape) for kind, value in moments.items()
    }


def _padded(moment: Tensor, shape: torch.Size) -> Tensor:
    padded = torch.zeros(shape)
    padded[tuple(slice(length) for length in moment.shape)] = moment
    return padded
