"""The order of an activation's dimensions."""

import msgspec
import torch
from torch import Tensor, nn

# B sample, T time or position, C channel, H height, W width: what seeds read and write, by the number of dimensions.
CANONICAL = {2: "BC", 3: "BTC", 4: "BCHW"}
TIME_FIRST, CHANNELS_FIRST = "TBC", "BCT"

_ON_SIGNALS = (nn.Conv1d, nn.ConvTranspose1d, nn.MaxPool1d, nn.AvgPool1d, nn.AdaptiveAvgPool1d, nn.BatchNorm1d)


class Layout(msgspec.Struct, frozen=True):
    """How a tensor's dimensions are ordered; `order` is empty when their number tells."""

    order: str = ""

    def misfit(self, activation: Tensor) -> str:
        """Say why *activation* cannot be read this way; empty if it can."""
        if self.order and len(self.order) != activation.ndim:
            return f"it has {activation.ndim} dimensions, and its layout is {self.order}"
        if activation.ndim < 2:
            return f"it has {activation.ndim} dimensions, so that no dimension counts samples"
        return ""

    def canonical(self, activation: Tensor) -> Tensor:
        """Return *activation* with the sample first, in the order that seeds know: itself, or a view of it."""
        wanted = CANONICAL.get(len(self.order), self.order)
        if self.order == wanted:
            return activation
        return activation.permute([self.order.index(letter) for letter in wanted])

    def host_order(self, canonical: Tensor) -> Tensor:
        """Undo `canonical`."""
        wanted = CANONICAL.get(len(self.order), self.order)
        if self.order == wanted:
            return canonical
        return canonical.permute([wanted.index(letter) for letter in self.order])

    def restored(self, canonical: Tensor, like: Tensor) -> Tensor:
        """Undo `canonical`, and keep the strides of *like*: a model may rely on them (`view`)."""
        found = self.host_order(canonical)
        if found.stride() == like.stride():
            return found
        if like.is_contiguous():
            return found.contiguous()
        if like.ndim == 4 and like.is_contiguous(memory_format=torch.channels_last):
            return found.contiguous(memory_format=torch.channels_last)
        return found


def is_layout(order: str) -> bool:
    """Tell whether *order* names each dimension of a vector, a sequence or an image once."""
    return sorted(order) in [sorted(known) for known in CANONICAL.values()]


def layout_of(model: nn.Module, name: str) -> str:
    """Return the layout that the module called *name* is known to have, or "" if the number of dimensions tells.

    torch.nn's recurrent and attention layers say whether the batch comes first; what is inside them follows.
    """
    if isinstance(model.get_submodule(name), _ON_SIGNALS[:-1]):
        return CHANNELS_FIRST
    module: nn.Module | None = model
    orders = [_own_order(model)]
    for part in name.split(".") if name else ():
        module = module.get_submodule(part)
        orders.append(_own_order(module))
    return next((order for order in reversed(orders) if order), "")


def speaks_time_first(model: nn.Module) -> bool:
    """Tell whether a layer of *model* puts time before the batch, so that three dimensions alone say nothing."""
    return any(_own_order(module) == TIME_FIRST for module in model.modules())


def _own_order(module: nn.Module) -> str:
    if isinstance(module, nn.TransformerEncoder | nn.TransformerDecoder):
        return next((_own_order(layer) for layer in module.layers), "")
    if isinstance(module, nn.Transformer):
        return "BTC" if module.batch_first else TIME_FIRST
    if isinstance(module, nn.TransformerEncoderLayer | nn.TransformerDecoderLayer):
        module = module.self_attn
    if isinstance(module, nn.MultiheadAttention | nn.RNNBase):
        return "BTC" if module.batch_first else TIME_FIRST
    return ""
