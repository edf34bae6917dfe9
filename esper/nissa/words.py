"""Leyline's enum numbers as the short words people read, and its maps as JSON."""

from collections.abc import Mapping, Sequence
from functools import cache

import msgspec
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper


@cache
def word(kind: EnumTypeWrapper, number: int) -> str:
    """Return the name of *number* without what all names of *kind* share: SEED_STAGE_TRAINING is "training"."""
    shared = _shared_words([value.name.split("_") for value in kind.DESCRIPTOR.values])
    known = kind.DESCRIPTOR.values_by_number.get(number)
    return str(number) if known is None else "_".join(known.name.split("_")[shared:]).lower()


def json_map(values: Mapping[str, float]) -> str:
    """Return a protobuf map as JSON text with sorted keys; what is not finite becomes null."""
    return msgspec.json.encode(dict(values), order="sorted").decode()


def _shared_words(names: Sequence[Sequence[str]]) -> int:
    """Return how many words all *names* begin with."""
    return next(index for index, words in enumerate(zip(*names, strict=False)) if len(set(words)) > 1)
