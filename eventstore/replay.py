"""Fold a stream to a position, and say what differs between two folded states."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar, cast

import msgspec
from google.protobuf.message import Message

from eventstore.store import EventStore, Recorded, StreamName

State = TypeVar("State")


class Folded(msgspec.Struct, Generic[State], frozen=True):
    """A state, the version of its stream it stands for, and the position of the last event in it (0: none)."""

    state: State
    version: int = 0
    position: int = 0


class Difference(msgspec.Struct, frozen=True):
    """One place where two states differ: its path, and what stands there before and after (None: nothing)."""

    path: str
    before: object
    after: object


def fold(
    recorded: Iterable[Recorded],
    initial: State,
    evolve: Callable[[State, Any], State],
    *,
    until: int | None = None,
) -> Folded[State]:
    """Return *initial* after the events whose position is at most *until* (default: all of them).

    *recorded* is one stream's events in order; the fold itself reads nothing and refuses nothing.
    """
    folded = Folded(initial)
    for one in recorded:
        if until is not None and one.position > until:
            break
        folded = Folded(evolve(folded.state, one.event), one.version, one.position)
    return folded


async def fold_stream(
    store: EventStore,
    stream: StreamName,
    initial: State,
    evolve: Callable[[State, Any], State],
    *,
    until: int | None = None,
) -> Folded[State]:
    """Read *stream* and return its state at position *until* (default: now).

    Raises: as `EventStore.read_stream`.
    """
    return fold(await store.read_stream(stream), initial, evolve, until=until)


def differences(before: object, after: object) -> tuple[Difference, ...]:
    """Return where *after* differs from *before*, sorted by path: structs, maps and lists are looked into."""
    old, new = dict(_leaves(before, "")), dict(_leaves(after, ""))
    paths = sorted(old.keys() | new.keys())
    return tuple(Difference(path, old.get(path), new.get(path)) for path in paths if old.get(path) != new.get(path))


def _leaves(value: object, path: str) -> Iterator[tuple[str, object]]:
    """Yield every scalar under *value* with its dotted path; a protobuf message counts as its set fields."""
    inside = _members(value)
    if inside is None:
        yield path, value
        return
    for name, member in inside:
        yield from _leaves(member, f"{path}.{name}" if path else name)


def _members(value: object) -> Iterable[tuple[str, object]] | None:
    match value:
        case msgspec.Struct():
            return [(field, getattr(value, field)) for field in value.__struct_fields__]
        case Message():
            return [(descriptor.name, member) for descriptor, member in value.ListFields()]
        case Mapping():
            return [(str(key), member) for key, member in cast("Mapping[object, object]", value).items()]
        case str() | bytes():
            return None
        case Sequence():
            return [(str(index), member) for index, member in enumerate(cast("Sequence[object]", value))]
        case _:
            return None
