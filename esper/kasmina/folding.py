"""Kept seeds that are linear maps over channels, folded into the layer that they follow or stand beside."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from esper.kasmina.tracing import Fossil
from esper.leyline.v1.enums_pb2 import BlendMode

# Dimensions: O channels that the seed adds to, I channels that it reads.


def fold(fossils: tuple[Fossil, ...], maps_OI: Mapping[int, Tensor]) -> tuple[Fossil, ...]:
    """Add what can be folded into the host's weights, in place, and return the other fossils.

    *maps_OI* holds the matrix of each seed that is a linear map over channels, by its index in *fossils*. Such a
    seed folds if its blend is RESIDUAL, it reads what its exit reads or returns, that exit is a linear layer, and
    every earlier seed there was folded too. In double precision, so that outputs differ by rounding alone.
    """
    kept: list[Fossil] = []
    blocked: set[int] = set()
    for index, fossil in enumerate(fossils):
        matrix_OI, exit_ = maps_OI.get(index), id(fossil.exit)
        layer = _layer_to_fold_into(fossil)
        if matrix_OI is not None and layer is not None and exit_ not in blocked:
            _fold(fossil, layer, matrix_OI)
        else:
            blocked.add(exit_)
            kept.append(fossil)
    return tuple(kept)


def _layer_to_fold_into(fossil: Fossil) -> nn.Linear | nn.Conv2d | None:
    layer = fossil.exit
    beside = fossil.entry is layer
    if fossil.first or any(layout.order for layout in (fossil.layout, fossil.input_layout)):
        return None
    if fossil.mode != BlendMode.BLEND_MODE_RESIDUAL or not (beside or fossil.entry is None):
        return None
    if isinstance(layer, nn.Conv2d) and layer.groups == 1 and (not beside or _pointwise(layer)):
        return layer
    return layer if isinstance(layer, nn.Linear) else None


def _pointwise(layer: nn.Conv2d) -> bool:
    return layer.kernel_size == (1, 1) and layer.stride == (1, 1) and layer.padding in ((0, 0), "valid", "same")


@torch.no_grad()
def _fold(fossil: Fossil, layer: nn.Linear | nn.Conv2d, matrix_OI: Tensor) -> None:
    weight = layer.weight.detach().double().flatten(1)
    added = matrix_OI.detach().double().to(weight.device) * fossil.alpha
    if fossil.entry is None:
        if layer.bias is not None:
            layer.bias.add_((added @ layer.bias.detach().double()).to(layer.bias.dtype))
        added = added @ weight
    layer.weight.copy_((weight + added).to(layer.weight.dtype).view_as(layer.weight))
