"""A folded state as bytes, and back: structs, protobuf messages and plain containers of them, nothing that is executed.

msgspec cannot do this by itself: it has no types for protobuf messages and their enums inside a struct.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, cast, get_args, get_type_hints

import msgspec
from google.protobuf.message import DecodeError, Message

Kinds: TypeAlias = Mapping[str, type[Any]]
"""The struct and message classes that a state may hold, by name."""


class StateUnreadable(Exception):
    """Bytes that hold no state of the kinds expected."""


def kinds_of(root: type[Any]) -> Kinds:
    """Return every struct and message class that the annotations of *root* reach, *root* included."""
    found: dict[str, type[Any]] = {}
    waiting: list[Any] = [root]
    while waiting:
        kind = waiting.pop()
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct | Message) and _name(kind) not in found:
            found[_name(kind)] = kind
            waiting.extend(get_type_hints(kind).values() if issubclass(kind, msgspec.Struct) else ())
        waiting.extend(get_args(kind))
    return found


def encode(state: object) -> bytes:
    """Return *state* as bytes.

    Raises:
        TypeError: it holds something that is neither a struct, a message, a plain value nor a container of these.
    """
    return msgspec.msgpack.encode(_plain(state))


def decode(data: bytes, kinds: Kinds) -> Any:
    """Return the state that *data* holds.

    Raises:
        StateUnreadable: it holds none, or one with other classes than *kinds* or other fields than theirs.
    """
    try:
        return _state(msgspec.msgpack.decode(data), kinds)
    except (msgspec.DecodeError, DecodeError, AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise StateUnreadable(str(error)) from error


def _name(kind: type[Any]) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _plain(value: object) -> object:
    match value:
        case None | bool() | int() | float() | str() | bytes():
            return value
        case msgspec.Struct():
            return ["struct", _name(type(value)), {f: _plain(getattr(value, f)) for f in value.__struct_fields__}]
        case Message():
            return ["message", _name(type(value)), value.SerializeToString(deterministic=True)]
        case dict():
            pairs = cast("dict[object, object]", value).items()
            return ["dict", [[_plain(key), _plain(member)] for key, member in pairs]]
        case list() | tuple() | frozenset() | set():
            members = cast("list[object]", value)
            return [type(members).__name__, [_plain(member) for member in members]]
        case _:
            raise TypeError(f"{type(value).__name__} has no place in a state")


_CONTAINERS: Mapping[str, Callable[[list[Any]], object]] = {
    "list": list,
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
}


def _state(value: Any, kinds: Kinds) -> Any:
    if not isinstance(value, list):
        return value
    tag, *parts = cast("list[Any]", value)
    match tag:
        case "struct":
            return kinds[parts[0]](**{field: _state(member, kinds) for field, member in parts[1].items()})
        case "message":
            return kinds[parts[0]].FromString(parts[1])
        case "dict":
            return {_state(key, kinds): _state(member, kinds) for key, member in parts[0]}
        case _:
            return _CONTAINERS[tag]([_state(member, kinds) for member in parts[0]])
