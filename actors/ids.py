"""Names for commands and runs: new ones in time order, derived ones the same every time."""

from random import Random
from uuid import UUID, uuid5

from actors.clock import Clock

_NAMESPACE = UUID("6f2f0f5e-2f0b-5d3c-9d0a-6f7c1a1f4e55")
_SEPARATOR = "\x1f"


def new_id(clock: Clock, random: Random) -> str:
    """Return a fresh 128-bit id as 32 hex digits; ids made a millisecond apart sort by time (RFC 9562, version 7)."""
    milliseconds = clock.now_ns() // 1_000_000
    bits = (milliseconds & (1 << 48) - 1) << 80 | 7 << 76 | random.getrandbits(12) << 64
    return f"{bits | 0b10 << 62 | random.getrandbits(62):032x}"


def derived_id(*parts: str) -> str:
    """Return the id that belongs to *parts*, as 32 hex digits: the same parts give the same id, in any process."""
    return uuid5(_NAMESPACE, _SEPARATOR.join(parts)).hex


def spoken_in(timeline: int, purpose: str) -> str:
    """Return *purpose* as it is named in *timeline*: what is said in one is never taken for an answer in another."""
    return f"timeline {timeline}/{purpose}" if timeline else purpose
