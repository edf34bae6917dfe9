"""Learning what flows through sites, from a probe batch or from the first training pass."""

from collections.abc import Callable, Mapping, Sequence
from typing import cast

import torch
from torch import nn

from esper.kasmina.doorway import doors_of
from esper.kasmina.errors import CompiledHost, HostUnseen, SiteUnusable
from esper.kasmina.foreign import without_foreign_hooks
from esper.kasmina.slot import Slot
from esper.kasmina.tap import Removable
from esper.kasmina.undisturbed import undisturbed


class _Told:
    """A listener among others; goes away with `remove`."""

    def __init__(self, listeners: list[Callable[[], None]], listener: Callable[[], None]) -> None:
        self._listeners, self._listener = listeners, listener
        listeners.append(listener)

    def remove(self) -> None:
        self._listeners.remove(self._listener)


class Glance:
    """Watches the first forward pass with gradients for its shapes, and takes its hooks off when that ends."""

    def __init__(self, model: nn.Module, slots: Sequence[Slot]) -> None:
        self.refusals: dict[str, SiteUnusable] = {}
        self._slots, self._seen, self._traced = slots, False, False
        for slot in slots:
            slot.open_window(0)
        self._handles: list[Removable] = []
        doors = doors_of(model)
        if doors is not None:
            self._handles.append(_Told(doors.after_rehearsal, self.close))
        else:
            # Last of the model's hooks, so that the slots' own have done their work.
            self._handles.append(model.register_forward_hook(self._ended))

    def close(self) -> None:
        """Take the hooks off; `refusals` then says which sites cannot carry a seed."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        for slot in self._slots:
            known = slot.shape
            try:
                slot.close_window()
            except SiteUnusable as refusal:
                self.refusals[slot.site.seed_id] = refusal
            except CompiledHost:
                self._traced = True
            self._seen = self._seen or slot.shape is not known or bool(self.refusals)
            # What is known already, from a probe or from the run that goes on, stays.
            slot.shape = known or slot.shape
        self._slots = ()

    def demand(self) -> None:
        """Close; refuse a training that does not pass through the sites.

        Raises:
            CompiledHost: the model was compiled with its hooks in it.
            HostUnseen: it did not run.
        """
        wanted = bool(self._slots) or self._seen or self._traced
        self.close()
        if self._traced:
            raise CompiledHost("")
        if wanted and not self._seen:
            raise HostUnseen

    def _ended(self, module: nn.Module, args: object, output: object) -> None:
        if torch.compiler.is_compiling():
            self._traced = True
        elif torch.is_grad_enabled():
            self._seen = True
            self.close()


def look(model: nn.Module, slots: Sequence[Slot], batch: object) -> dict[str, SiteUnusable]:
    """Learn the shapes at *slots* by running *model* once on *batch*: a tensor, a tuple or a dictionary of arguments.

    Nothing of it stays: random streams, buffers, modes and gradients are put back, hooks that are not ours or torch's
    do not run, and nothing is compiled. What the forward pass writes into Python attributes of the model stays.
    Returns which sites cannot carry a seed.
    """
    args: Sequence[object] = cast("Sequence[object]", batch) if isinstance(batch, tuple | list) else (batch,)
    kwargs: Mapping[str, object] = {}
    if isinstance(batch, Mapping):
        args, kwargs = (), cast("Mapping[str, object]", batch)
    refusals: dict[str, SiteUnusable] = {}
    with (
        undisturbed(model),
        without_foreign_hooks(model),
        torch.enable_grad(),
        torch.compiler.set_stance("force_eager"),
    ):
        for slot in slots:
            slot.open_window(1)
        try:
            model(*args, **kwargs)
        finally:
            for slot in slots:
                try:
                    slot.close_window()
                except SiteUnusable as refusal:
                    refusals[slot.site.seed_id] = refusal
    return refusals
