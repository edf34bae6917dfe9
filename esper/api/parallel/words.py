"""What the ranks of one training say to each other; the log itself, each reads on its own."""

import msgspec


class Welcome(msgspec.Struct, frozen=True):
    """Rank 0 has begun: which run to follow, under which settings, from which checkpoint (Leyline bytes, none for a
    new run), and how far each slot's stream is shown. *failed*: it has not; the error's class and its message."""

    run_id: str = ""
    settings: str = ""
    checkpoint: bytes = b""
    last: bytes = b""
    shown: list[tuple[str, int]] = []
    failed: tuple[str, str] | None = None


class Told(msgspec.Struct, frozen=True):
    """Which changes the model shows since the last word: slots, and the version of its stream that each now shows.

    At an epoch's end also its facts (Leyline bytes) and why what was decided.
    """

    shown: list[tuple[str, int]] = []
    facts: bytes = b""
    decisions: tuple[str, ...] = ()


class Report(msgspec.Struct, frozen=True):
    """How a rank is at an epoch's end: the mean of its losses, and what a checkpoint has to hold of it."""

    loss: float
    state: bytes


ENCODER = msgspec.msgpack.Encoder()
