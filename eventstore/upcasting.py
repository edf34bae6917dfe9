"""Events as they were once written, brought to the shape that the program knows now."""

from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeAlias


class Written(NamedTuple):
    """An event's payload with the type name and schema version that it was written under."""

    type: str
    schema_version: int
    payload: bytes


Upcaster: TypeAlias = Callable[[bytes], tuple[str, int, bytes]]
"""A pure function from the payload of one type and version to the (type, version, payload) that took its place.

It reads nothing but its argument. It works on bytes, so that the old message class need not live on; unknown fields and
unknown enum numbers survive as long as it does not take them out.
"""

STEPS_AT_MOST = 64


class Upcasters(Protocol):
    """The steps from every type and version that was ever released."""

    def upcaster(self, name: str, schema_version: int) -> Upcaster | None:
        """Return the step that leads on from version *schema_version* of type *name*, or None if none does."""
        ...


def newest(upcasters: Upcasters, written: Written) -> Written:
    """Return *written* after every step that leads on from it.

    Raises:
        ValueError: the steps go round in a circle: a mistake in the vocabulary.
    """
    for _ in range(STEPS_AT_MOST):
        step = upcasters.upcaster(written.type, written.schema_version)
        if step is None:
            return written
        written = Written(*step(written.payload))
    raise ValueError(f"the upcasters of {written.type} never come to an end")
