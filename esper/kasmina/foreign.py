"""Hooks that are the user's own, and no concern of an extra pass."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import cast

from torch import nn

from esper.kasmina.doorway import Doorway
from esper.kasmina.tap import Tap

TABLES = ("_forward_hooks", "_forward_pre_hooks")


@contextmanager
def without_foreign_hooks(model: nn.Module) -> Generator[None]:
    """Set the user's own forward hooks aside, so that an extra pass does not count in them.

    Hooks that torch.nn.utils installs are kept: they compute the weights.
    """
    tables = [cast("dict[int, object]", module.__dict__[table]) for module in model.modules() for table in TABLES]
    before = [dict(table) for table in tables]
    for table in tables:
        for key in [key for key, hook in table.items() if _is_foreign(hook)]:
            del table[key]
    try:
        yield
    finally:
        for table, kept in zip(tables, before, strict=True):
            table.clear()
            table.update(kept)


def _is_foreign(hook: object) -> bool:
    owner = getattr(hook, "__self__", hook)
    ours = isinstance(owner, Tap | Doorway)
    return not ours and not type(owner).__module__.startswith("torch.")
