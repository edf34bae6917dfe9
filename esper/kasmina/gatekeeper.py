"""Opens and shuts the doorways of a compiled model, so that nothing is compiled when something begins to grow.

While nobody lives in the model its doors are shut, and it runs the code that torch.compile makes of the bare model.
Whenever one variant had to be compiled, the other is compiled for the same arguments at once, by a rehearsal that
training does not notice. Which variant runs depends on who lives in the model and on nothing else, so that a run that
is resumed computes the same.
"""

import copy
import dataclasses
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch._dynamo.eval_frame import OptimizedModule, _next_isolate_recompiles_id  # pyright: ignore[reportPrivateUsage]
from torch._dynamo.utils import counters
from torch.autograd.grad_mode import _unsafe_preserve_version_counter  # pyright: ignore[reportPrivateUsage]
from torch.utils._pytree import tree_leaves, tree_map

from esper.kasmina.doorway import Doors, doors_of
from esper.kasmina.planted import planted_in
from esper.kasmina.undisturbed import undisturbed
from esper.leyline.v1.enums_pb2 import SeedLifecycleStage as Stage

Runs = Callable[..., Any]


class Gatekeeper:
    """Stands in for the forward pass of a compiled model: *bare* runs it with its doors shut, *open_* with them open.

    Code that was compiled for one is never found by the other: a graph break leaves no guard on the door behind it.
    """

    def __init__(self, model: nn.Module, doors: Doors, bare: Runs, open_: Runs) -> None:
        self.doors, self.bare = doors, bare
        self._model, self._open = model, open_

    def __call__(self, *args: object, **kwargs: object) -> object:
        """Run the model, and rehearse the other variant if something was compiled for that."""
        doors = self.doors
        # Objects of the user's own, a cache for example, cannot be given to a rehearsal without its leaving a trace.
        plain = _plain(args) and _plain(kwargs)
        doors.open = opened = doors.residents > 0 or not plain
        before = graphs_compiled()
        output = self._open(*args, **kwargs) if opened else self.bare(*args, **kwargs)
        compiled = graphs_compiled() != before
        if compiled and plain and not (opened and self._keeps_seeds()):
            self._rehearse(args, kwargs, opened=not opened)
        elif doors.passing and not opened and torch.is_grad_enabled():
            self._rehearse(args, kwargs, opened=True)
        return output

    def _keeps_seeds(self) -> bool:
        """Whether a seed lives here for good, so that the bare variant will not be asked for."""
        return any(seed.stage == Stage.SEED_STAGE_FOSSILIZED for seed in planted_in(self._model).values())

    def _rehearse(self, args: tuple[object, ...], kwargs: dict[str, object], *, opened: bool) -> None:
        given, named = cast("tuple[tuple[object, ...], dict[str, object]]", tree_map(_copy, (args, kwargs)))
        self.doors.open = opened
        try:
            with (
                # The caller's graph has saved buffers: it may not find that they were written to and put back.
                _unsafe_preserve_version_counter(tuple(self._model.buffers())),
                undisturbed(self._model),
                attributes_kept(self._model),
            ):
                self._backward(self._open(*given, **named) if opened else self.bare(*given, **named))
        finally:
            self.doors.open = not opened
        if opened and torch.is_grad_enabled():
            for tell in tuple(self.doors.after_rehearsal):
                tell()

    def _backward(self, output: object) -> None:
        """Let the backward pass be compiled, too; no gradient is kept anywhere."""
        learning = [parameter for parameter in self._model.parameters() if parameter.requires_grad]
        losses = [found.sum() for found in _tensors(output) if found.requires_grad and found.is_floating_point()]
        if torch.is_grad_enabled() and losses and learning:
            torch.autograd.grad(losses, learning, allow_unused=True)


def keep_gate(model: nn.Module, compiled: OptimizedModule) -> None:
    """Let a gatekeeper stand before *model*, of which torch.compile made *compiled*, if it was declared to be fast.

    It stays: seeds that were kept go on living in the model when their session has ended.
    """
    doors, forward = doors_of(model), compiled.forward
    if isinstance(forward, Gatekeeper):
        if forward.doors is doors:
            return
        forward = forward.bare
    if doors is None or not doors.fast:
        compiled.forward = forward
        return
    context = copy.copy(compiled.dynamo_ctx)
    context._isolate_recompiles_id = next(_next_isolate_recompiles_id)  # pyright: ignore[reportPrivateUsage]
    compiled.forward = Gatekeeper(model, doors, forward, OptimizedModule(model, context).forward)


def graphs_compiled() -> int:
    """Return how many graphs torch.compile has compiled in this process."""
    return counters["stats"]["unique_graphs"]


@contextmanager
def attributes_kept(model: nn.Module) -> Generator[None]:
    """Put back what the code inside binds to other attributes of *model*'s modules: counters, states, buffers."""
    tables = [cast("dict[str, object]", module.__dict__) for module in model.modules()]
    tables += [cast("dict[str, object]", table["_buffers"]) for table in tables]
    before = [dict(table) for table in tables]
    try:
        yield
    finally:
        for table, kept in zip(tables, before, strict=True):
            for key in table.keys() - kept.keys():
                del table[key]
            for key, value in kept.items():
                if table.get(key) is not value:
                    table[key] = value


def _plain(given: object) -> bool:
    """Tell whether *given* is made of tensors and constants only, so that a copy of it is as good."""
    if isinstance(given, Tensor | bool | int | float | str | None):
        return True
    if type(given) is tuple or type(given) is list:
        return all(map(_plain, cast("Sequence[object]", given)))
    return type(given) is dict and all(map(_plain, cast("Mapping[str, object]", given).values()))


def _copy(leaf: object) -> object:
    return leaf.detach().clone().requires_grad_(leaf.requires_grad) if isinstance(leaf, Tensor) else leaf


def _tensors(output: object) -> Iterable[Tensor]:
    for leaf in cast("list[object]", tree_leaves(output)):
        if isinstance(leaf, Tensor):
            yield leaf
        elif dataclasses.is_dataclass(leaf):
            yield from (part for part in vars(leaf).values() if isinstance(part, Tensor))
