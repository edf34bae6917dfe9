"""What is left of a seed that was removed: modules, hooks, parameters in optimizers, memory."""

import gc
import weakref
from collections.abc import Iterable

from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.optim import Optimizer

from esper.kasmina.adoption import held_by
from esper.kasmina.live_seed import LiveSeed
from esper.kasmina.tap import Tap, hooks_left

LEFTOVERS = ("modules_left", "hooks_left", "optimizer_parameters_left", "memory_left")


class Remains:
    """Remembers what a seed was made of, and keeps nothing of it alive. Make it before the seed is taken out."""

    def __init__(self, seed: LiveSeed, parts: Iterable[nn.Module], tap: Tap | None) -> None:
        self._module = weakref.ref(seed.module)
        self._tap = None if tap is None else weakref.ref(tap)
        self._parameters = [weakref.ref(own) for part in parts for own in part.parameters()]
        storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage() for tensor in _tensors(seed)}
        self._memory = [(StorageWeakRef(storage), storage.nbytes()) for storage in storages.values()]

    def found(self, model: nn.Module, optimizers: Iterable[Optimizer]) -> dict[str, float]:
        """Count what is still there of it, in *model*, in *optimizers* (the host's) and in memory.

        `memory_left` is the part of the seed's bytes that somebody still holds: its weights, buffers, gradients and
        its optimizer's moments.
        """
        # First, while nothing here refers to the seed.
        memory_left = self._memory_left()
        module, tap = self._module(), None if self._tap is None else self._tap()
        parameters = {id(own) for own in (reference() for reference in self._parameters) if own is not None}
        return {
            "modules_left": float(module is not None and any(part is module for part in model.modules())),
            "hooks_left": float(0 if tap is None else hooks_left(model, tap)),
            "optimizer_parameters_left": float(sum(held_by(optimizer, parameters) for optimizer in optimizers)),
            "memory_left": memory_left,
        }

    def _memory_left(self) -> float:
        if self._alive():
            # What only refers to itself is nobody's.
            gc.collect()
        everything = sum(size for _, size in self._memory)
        return self._alive() / everything if everything else 0.0

    def _alive(self) -> int:
        return sum(size for storage, size in self._memory if not storage.expired())


def _tensors(seed: LiveSeed) -> list[Tensor]:
    parts = (seed.module, seed.blend)
    parameters = [own for part in parts for own in part.parameters()]
    found = [*parameters, *(buffer for part in parts for buffer in part.buffers())]
    found += [own.grad for own in parameters if own.grad is not None]
    states = [] if seed.optimizer is None else list(seed.optimizer.state.values())
    return found + [value for state in states for value in state.values() if isinstance(value, Tensor)]
