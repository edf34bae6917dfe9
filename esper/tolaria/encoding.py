"""Nested training state to bytes and back, tensors as safetensors and the rest as JSON: no code is ever loaded."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec
import torch
from safetensors.torch import load, save
from torch import Tensor


class Unsavable(Exception):
    """A value in the training state that is neither a tensor, a number, a string nor a container of such."""

    def __init__(self, path: str, kind: str) -> None:
        self.path, self.kind = path, kind
        super().__init__(f"{path} is a {kind}, which a checkpoint cannot hold: give its state_dict plain values")


def encode(state: object) -> bytes:
    """Return *state* - dicts, lists, tuples, tensors, numbers, strings, None - as one byte string.

    Raises:
        Unsavable: naming the path of the first value that does not fit.
    """
    tensors: dict[str, Tensor] = {}
    skeleton = msgspec.json.encode(_flatten(state, "state", tensors))
    tensors["skeleton"] = torch.frombuffer(bytearray(skeleton), dtype=torch.uint8)
    return save(tensors)


def decode(data: bytes) -> Any:
    """Return the state that `encode` was given; tensors arrive on the CPU."""
    tensors = load(data)
    skeleton = msgspec.json.decode(bytes(tensors["skeleton"].numpy().tobytes()))
    return _unflatten(skeleton, tensors)


def _flatten(value: Any, path: str, tensors: dict[str, Tensor]) -> object:
    match value:
        case Tensor():
            tensors[path] = value.detach().cpu().clone().contiguous()
            return {"tensor": path}
        case float() if not math.isfinite(value):
            return {"float": repr(value)}
        case int() if not isinstance(value, bool) and not -(2**53) < value < 2**53:
            return {"int": str(value)}
        case None | bool() | int() | float() | str():
            return value
        case Mapping():
            entries = cast(Mapping[Any, Any], value).items()
            return {"dict": [[key, _flatten(item, f"{path}.{key}", tensors)] for key, item in entries]}
        case tuple() | list():
            items = cast(Sequence[Any], value)
            kind = "tuple" if isinstance(value, tuple) else "list"
            return {kind: [_flatten(item, f"{path}.{i}", tensors) for i, item in enumerate(items)]}
        case _:
            raise Unsavable(path, type(value).__name__)


def _unflatten(node: Any, tensors: Mapping[str, Tensor]) -> Any:
    match node:
        case {"tensor": path}:
            return tensors[path]
        case {"float": text}:
            return float(text)
        case {"int": text}:
            return int(text)
        case {"dict": items}:
            return {key: _unflatten(item, tensors) for key, item in items}
        case {"tuple": items}:
            return tuple(_unflatten(item, tensors) for item in items)
        case {"list": items}:
            return [_unflatten(item, tensors) for item in items]
        case _:
            return node
