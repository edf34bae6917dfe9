"""Whether a seed holds on to what it computes: memory that grows with every batch."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# One pass in so many is watched, and so many of these may leave something behind before it is a leak.
EVERY_PASSES = 8
TOLERATED = 4


class Retention:
    """Watches a few passes, and counts from how many of them something is still held.

    A cache that is replaced at each pass is no leak. Memory of other things than tensors is not seen.
    """

    def __init__(self) -> None:
        self._passes = 0
        self._watched: list[list[tuple[StorageWeakRef, int]]] = []

    def __reduce__(self) -> tuple[type["Retention"], tuple[()]]:
        # A copy of the seed holds other memory.
        return Retention, ()

    @contextmanager
    def watch(self, entry: Tensor) -> Generator[None]:
        """Watch one training pass that reads *entry*, which belongs to the seed alone."""
        self._passes += 1
        if self._passes % EVERY_PASSES:
            yield
            return
        made = _Made()
        made.note(entry)
        try:
            with made:
                yield
        finally:
            self._watched.append(list(made.storages.values()))

    def leaking(self) -> str:
        """Say how much of each pass is still held, if that is so for too many; else empty."""
        # What the newest pass has made may be in use, until the user's loss is computed again.
        older = [self._alive(watched) for watched in self._watched[:-1]]
        self._watched = [*(watched for watched in older if watched), *self._watched[-1:]]
        kept = self._watched[:-1]
        if len(kept) < TOLERATED:
            return ""
        held = sum(size for watched in kept for _, size in watched) / len(kept)
        return f"keeps {held / 1024:.1f} KiB of every pass"

    @staticmethod
    def _alive(watched: list[tuple[StorageWeakRef, int]]) -> list[tuple[StorageWeakRef, int]]:
        return [(storage, size) for storage, size in watched if not storage.expired()]


class _Made(TorchDispatchMode):
    """Notes the memory of every tensor that is computed, and of none that was there before."""

    def __init__(self) -> None:
        super().__init__()
        self.storages: dict[int, tuple[StorageWeakRef, int]] = {}

    def note(self, tensor: Tensor) -> None:
        """Remember the memory of *tensor*, without holding it."""
        storage = tensor.untyped_storage()
        self.storages[_key(tensor)] = (StorageWeakRef(storage), storage.nbytes())

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        before = {_key(part) for part in tree_leaves((args, kwargs or {})) if isinstance(part, Tensor)}
        result = func(*args, **(kwargs or {}))
        for part in tree_leaves(result):
            if isinstance(part, Tensor) and _key(part) not in before:
                self.note(part)
        return result


def _key(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata  # pyright: ignore[reportPrivateUsage]
