"""The element of a module's output that grows: one tensor in a tuple, a dictionary or a dataclass."""

import copy
import dataclasses
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any, cast

from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

# A path leads from the outside in: ("0",) is the first of a tuple, ("hidden_states",) a field or a key.
Path = Sequence[str]


def element(output: Any, path: Path) -> Any:
    """Return what *path* leads to in *output*.

    Raises:
        LookupError: it leads nowhere; says at what.
    """
    found: Any = output
    for key in path:
        _refuse_packed(found)
        found = _inner(found, key)
    _refuse_packed(found)
    return found


def _inner(output: Any, key: str) -> Any:
    if isinstance(output, tuple | list) and key.isdigit():
        parts = cast("Sequence[object]", output)
        if int(key) >= len(parts):
            raise LookupError(f"there are {len(parts)} elements, and no element {key}")
        return parts[int(key)]
    if isinstance(output, Mapping):
        keyed = cast("Mapping[object, object]", output)
        if key not in keyed:
            raise LookupError(f"there is no {key!r} among {', '.join(map(str, keyed))}")
        return keyed[key]
    if key in _fields(output):
        return getattr(cast("object", output), key)
    raise LookupError(f"there is no {key!r} in {described(output)}")


def replaced(output: Any, path: Path, tensor: Tensor) -> Any:
    """Return *output* with *tensor* in the place that *path* leads to; *output* itself is not changed."""
    if not path:
        return tensor
    key, rest = path[0], path[1:]
    inner = replaced(element(output, [key]), rest, tensor)
    if isinstance(output, tuple | list) and key.isdigit():
        parts = [*cast("Sequence[object]", output)]
        parts[int(key)] = inner
        return _rebuilt(cast("Sequence[object]", output), parts)
    if isinstance(output, tuple):
        return cast("Any", output)._replace(**{key: inner})
    twin: Any = copy.copy(cast("object", output))
    if isinstance(output, MutableMapping):
        twin[key] = inner
    else:
        # Past a frozen dataclass's own __setattr__: the copy is ours.
        object.__setattr__(twin, key, inner)
    return twin


def described(output: Any) -> str:
    """Say in a few words what a module returned."""
    kind = type(output).__name__
    if isinstance(output, Mapping):
        return f"a {kind} with {', '.join(map(str, cast('Mapping[object, object]', output)))}"
    if fields := _fields(output):
        return f"a {kind} with {', '.join(fields)}"
    if isinstance(output, tuple | list):
        parts = cast("Sequence[object]", output)
        return f"a {kind} of {len(parts)} ({', '.join(type(part).__name__ for part in parts)})"
    return f"a {kind}"


def first_hint(output: Any) -> str:
    """Return what to write after `output=` for the first tensor in *output*, or "" if there is none."""
    if isinstance(output, tuple | list) and not _fields(output):
        keys: Sequence[object] = range(len(cast("Sequence[object]", output)))
    elif isinstance(output, Mapping):
        keys = [*cast("Mapping[object, object]", output)]
    else:
        keys = _fields(output)
    return next((repr(key) for key in keys if isinstance(_inner(output, str(key)), Tensor)), "")


def _refuse_packed(found: Any) -> None:
    if isinstance(found, PackedSequence):
        raise LookupError("a PackedSequence has no batch dimension; pad the batch and leave the packing out")


def _fields(output: Any) -> tuple[str, ...]:
    if isinstance(output, tuple):
        return tuple(getattr(cast("object", output), "_fields", ()))
    if dataclasses.is_dataclass(output):
        return tuple(field.name for field in dataclasses.fields(output))
    return ()


def _rebuilt(output: Sequence[object], parts: list[object]) -> object:
    if isinstance(output, list):
        return parts
    return cast("Any", type(output))._make(parts) if _fields(output) else tuple(parts)
