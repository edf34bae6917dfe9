"""The source text that constructs a layer of torch.nn as a given one was constructed."""

import torch
from torch import nn
from torch.nn import functional as F

from esper.api.errors import BakeRefused
from esper.kasmina.planted import SUBMODULE


def constructor(path: str, layer: nn.Module) -> str:
    """Return an expression over `nn` and `torch` that builds a layer like *layer*, which stands at *path*.

    Raises:
        BakeRefused: it is no layer of torch.nn, or one that does not tell how it was made.
    """
    expression = _expression(path, layer)
    dtype = next((parameter.dtype for parameter in layer.parameters()), torch.float32)
    expression += "" if dtype == torch.float32 else f".to({dtype})"
    if not type(layer).__module__.startswith("torch.nn.") or not _like(expression, layer):
        raise BakeRefused(
            f"{path} is a {type(layer).__qualname__}, whose construction cannot be written as source; "
            "save the unwrapped model with torch.save instead"
        )
    return expression


def _expression(path: str, layer: nn.Module) -> str:
    match layer:
        case nn.MultiheadAttention():
            return _attention(layer)
        case nn.TransformerEncoderLayer():
            return _encoder_layer(path, layer)
        case nn.TransformerEncoder():
            return _encoder(path, layer)
        case _:
            return f"nn.{type(layer).__name__}({layer.extra_repr()})"


def _like(expression: str, layer: nn.Module) -> bool:
    """Say whether *expression* builds the same class with tensors of the same names, shapes and types."""
    try:
        built = eval(expression, {"nn": nn, "torch": torch})  # noqa: S307 it is torch's own description of a layer
    except (SyntaxError, NameError, TypeError, ValueError, AttributeError):
        return False
    alike = type(built) is type(layer) and built.extra_repr() == layer.extra_repr()
    return alike and _outline(built) == _outline(layer)


def _outline(layer: nn.Module) -> dict[str, tuple[torch.Size, torch.dtype]]:
    """Return names, shapes and types of the layer's own tensors, without those of a seed that it holds."""
    tensors = ((name.split("."), tensor) for name, tensor in layer.state_dict().items())
    return {
        ".".join(parts): (tensor.shape, tensor.dtype)
        for parts, tensor in tensors
        if not any(part.startswith(SUBMODULE) for part in parts)
    }


def _attention(layer: nn.MultiheadAttention) -> str:
    return (
        f"nn.MultiheadAttention({layer.embed_dim}, {layer.num_heads}, dropout={layer.dropout}, "
        f"bias={'in_proj_bias' in _outline(layer)}, add_bias_kv={layer.bias_k is not None}, "
        f"add_zero_attn={layer.add_zero_attn}, kdim={layer.kdim}, vdim={layer.vdim}, batch_first={layer.batch_first})"
    )


def _encoder_layer(path: str, layer: nn.TransformerEncoderLayer) -> str:
    activation = "relu" if layer.activation is F.relu else "gelu"
    if layer.activation not in (F.relu, F.gelu):
        raise BakeRefused(f"{path} has an activation that is neither F.relu nor F.gelu")
    attention = layer.self_attn
    return (
        f"nn.TransformerEncoderLayer({attention.embed_dim}, {attention.num_heads}, {layer.linear1.out_features}, "
        f"dropout={layer.dropout.p}, activation={activation!r}, layer_norm_eps={layer.norm1.eps}, "
        f"batch_first={attention.batch_first}, norm_first={layer.norm_first}, "
        f"bias={'linear1.bias' in _outline(layer)})"
    )


def _encoder(path: str, layer: nn.TransformerEncoder) -> str:
    first = constructor(f"{path}.layers.0", layer.layers[0])
    norm = "None" if layer.norm is None else constructor(f"{path}.norm", layer.norm)
    return f"nn.TransformerEncoder({first}, {layer.num_layers}, norm={norm}, enable_nested_tensor=False)"
