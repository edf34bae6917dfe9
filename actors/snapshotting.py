"""Which aggregates may be kept as snapshots, and under which digest of what their rules are."""

import hashlib
import sys
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any

from esper.leyline.decider import Decider
from eventstore.snapshot import Folding
from eventstore.states import kinds_of


def folding_of(decider: Decider[Any, Any, Any]) -> Folding[Any] | None:
    """Return how *decider* folds, or None if its snapshots could outlive what they stand for.

    The digest covers the source of every module beside the one where `evolve` is written, and every message of Leyline:
    a change anywhere in there lets old snapshots be. An `evolve` that was made from settings is not told apart by its
    source, so it has none.
    """
    evolve: object = decider.evolve
    initial: object = decider.initial
    if not isinstance(evolve, FunctionType) or evolve.__closure__ is not None:
        return None
    rules = sys.modules[evolve.__module__].__file__
    if rules is None:
        return None
    return Folding(decider.name, _digest(str(Path(rules).parent)), kinds_of(type(initial)))


@cache
def _digest(folder: str) -> str:
    language = sys.modules["esper.leyline.v1"].__path__[0]
    digest = hashlib.sha256()
    for path in [*sorted(Path(folder).glob("*.py")), *sorted(Path(language).glob("*_pb2.py"))]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
