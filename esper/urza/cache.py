"""Verified kernels at hand: bytes that were read and checked once, bounded; the least recently used go first.

What is kept is data. Every seed gets a module of its own that is built from it, so that no two slots share one.
"""

from collections import OrderedDict
from collections.abc import Callable, Collection
from typing import NamedTuple

import msgspec

from esper.urza.bundle import OpenedBundle

CAPACITY, UNUSED, EMERGENCY = "capacity", "unused", "emergency"


class Eviction(NamedTuple):
    """Kernels that are kept no longer, their bytes, why, and the bytes of those that stay."""

    kernel_ids: tuple[str, ...]
    bytes: int
    reason: str
    kept_bytes: int


class _Kept(msgspec.Struct):
    bundle: OpenedBundle
    unused_epochs: int = 0


class KernelCache:
    """The kernels that one trainer has verified. `attached` tells which ones seeds are growing from: those stay.

    When it changes is decided in the training thread, so that what is let go of, and when, is the same in every run.
    """

    def __init__(
        self, limit_bytes: int, limit_count: int, unused_epochs: int, attached: Callable[[], Collection[str]]
    ) -> None:
        self.hits = 0
        self.misses = 0
        self._limit_bytes, self._limit_count, self._unused_epochs = limit_bytes, limit_count, unused_epochs
        self._attached = attached
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._evictions: list[Eviction] = []

    @property
    def bytes(self) -> int:
        """What is kept, in bytes."""
        return sum(kept.bundle.bytes for kept in self._kept.values())

    @property
    def kernel_ids(self) -> tuple[str, ...]:
        """What is kept, the least recently used first."""
        return tuple(self._kept)

    def at_hand(self, kernel_id: str) -> OpenedBundle | None:
        """Return the kernel called *kernel_id* if it is kept. A look, which changes nothing: from any thread."""
        found = self._kept.get(kernel_id)
        return None if found is None else found.bundle

    def use(self, kernel_id: str, bundle: OpenedBundle) -> None:
        """Keep the verified *bundle*, which a seed is about to grow from, as the most recently used."""
        found = self._kept.get(kernel_id)
        if found is not None:
            self.hits += 1
            found.unused_epochs = 0
            self._kept.move_to_end(kernel_id)
            return
        self.misses += 1
        self._kept[kernel_id] = _Kept(bundle)
        chosen = self._too_many(kernel_id)
        if kernel_id in chosen:
            # It was never at hand: nothing is let go of with it.
            del self._kept[kernel_id]
        self._evict([each for each in chosen if each != kernel_id], CAPACITY)

    def new_epoch(self) -> None:
        """Let go of what no seed has grown from for as many epochs as the limit says."""
        attached = self._attached()
        for kernel_id, kept in self._kept.items():
            kept.unused_epochs = 0 if kernel_id in attached else kept.unused_epochs + 1
        old = [kernel_id for kernel_id, kept in self._kept.items() if kept.unused_epochs > self._unused_epochs]
        self._evict(old, UNUSED)

    def clean_up(self) -> int:
        """Let go of everything that no seed is growing from; return its bytes."""
        before = self.bytes
        self._evict(self._loose(), EMERGENCY)
        return before - self.bytes

    def evictions(self) -> list[Eviction]:
        """Return what was let go of since this was asked last."""
        found, self._evictions = self._evictions, []
        return found

    def _loose(self) -> list[str]:
        attached = self._attached()
        return [kernel_id for kernel_id in self._kept if kernel_id not in attached]

    def _too_many(self, newest: str) -> list[str]:
        """Return whom to let go of so that the limits hold: loose ones by age, then the newest."""
        over, count, chosen = self.bytes - self._limit_bytes, len(self._kept) - self._limit_count, list[str]()
        for kernel_id in [*(each for each in self._loose() if each != newest), newest]:
            if over <= 0 and count <= 0:
                break
            chosen.append(kernel_id)
            over, count = over - self._kept[kernel_id].bundle.bytes, count - 1
        return chosen

    def _evict(self, kernel_ids: list[str], reason: str) -> None:
        if not kernel_ids:
            return
        freed = sum(self._kept.pop(kernel_id).bundle.bytes for kernel_id in kernel_ids)
        self._evictions.append(Eviction(tuple(kernel_ids), freed, reason, self.bytes))
