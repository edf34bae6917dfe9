"""Places kept open for seeds in a model that torch.compile compiles.

A compiled model does not notice hooks that come later. So a site that is declared before compilation gets its hook at
once, and the hook looks whether the model's doors are open. torch.compile has a variant of its code for each answer:
shut, there is nothing to do and the hook is compiled away; open, it is a graph break and looks up who is there, so
that what a seed does is no part of the compiled code. See `gatekeeper.py` for who opens and shuts.
"""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar, cast

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

DOORWAYS = "_esper_doorways"
# A plain attribute of each module with a doorway: the doors of its model.
DOORS = "_esper_doors"
REASON = "a growth site that was wrapped with compiled=True"

Visitor = Callable[..., Any]
Method = TypeVar("Method", bound=Callable[..., Any])


def _outside_compiled_code(method: Method) -> Method:
    return cast("Method", torch.compiler.disable(method, reason=REASON))


class Doors:
    """Whether the doorways of one model are open, and for whom.

    They stay open unless a gatekeeper shuts them, which is only let in where *fast* was asked for. *residents* live
    there, or watch real training passes; *passing* visitors only want to have seen one, if it is a rehearsal.
    """

    def __init__(self, *, fast: bool = False) -> None:
        self.open, self.fast = True, fast
        self.residents = 0
        self.passing = 0
        self.after_rehearsal: list[Callable[[], None]] = []


class Doorway:
    """One module's permanent hooks. It can be copied and pickled with its model."""

    def __init__(self, doors: Doors) -> None:
        self.doors = doors
        self.leaving: list[Visitor] = []
        self.entering: list[Visitor] = []
        self.handles: list[RemovableHandle] = []

    def on_exit(self, module: nn.Module, args: object, output: object) -> object:
        """Show the module's output to whoever is there; None leaves it as it is."""
        # Read from the module: torch.compile sets no guard on what it reads from a hook.
        doors: Doors = getattr(module, DOORS)
        return self._leave(module, args, output) if doors.open else None

    def on_entry(self, module: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
        """Show the module's input to whoever is there."""
        doors: Doors = getattr(module, DOORS)
        if doors.open:
            self._enter(module, args, kwargs)

    @_outside_compiled_code
    def _leave(self, module: nn.Module, args: object, output: object) -> object:
        answer: object = None
        for visitor in tuple(self.leaving):
            found = visitor(module, args, output)
            if found is not None:
                answer = output = found
        return answer

    @_outside_compiled_code
    def _enter(self, module: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
        for visitor in tuple(self.entering):
            visitor(module, args, kwargs)


def is_doorway(hook: object) -> bool:
    """Tell whether *hook* keeps a place open."""
    return isinstance(getattr(hook, "__self__", None), Doorway)


class Place:
    """One visitor's place in a doorway; gives it up with `remove`."""

    def __init__(self, doors: Doors, visitors: list[Visitor], visitor: Visitor, *, passing: bool = False) -> None:
        self._doors, self._visitors, self._visitor, self._passing = doors, visitors, visitor, passing
        visitors.append(visitor)
        doors.open = True
        self._count(1)

    def remove(self) -> None:
        """Leave. No effect the second time."""
        if self._visitor in self._visitors:
            self._visitors.remove(self._visitor)
            self._count(-1)

    def _count(self, change: int) -> None:
        if self._passing:
            self._doors.passing += change
        else:
            self._doors.residents += change


def declare(model: nn.Module, exits: set[str], entries: set[str], *, fast: bool = False) -> None:
    """Keep the outputs of *exits* and the inputs of *entries* open. Call it before the model is compiled."""
    kept: dict[str, Doorway] = model.__dict__.setdefault(DOORWAYS, {})
    doors = doors_of(model) or Doors(fast=fast)
    for name in sorted(exits | entries):
        doorway = kept.setdefault(name, Doorway(doors))
        module = model.get_submodule(name)
        setattr(module, DOORS, doors)
        if name in exits:
            doorway.handles.append(module.register_forward_hook(doorway.on_exit))
        if name in entries:
            doorway.handles.append(module.register_forward_pre_hook(doorway.on_entry, with_kwargs=True))


def doors_of(model: nn.Module) -> Doors | None:
    """Return the doors of *model*, if its sites were declared."""
    return next((doorway.doors for doorway in doorways(model)), None)


def doorway_at(model: nn.Module, name: str) -> Doorway | None:
    """Return the doorway at the module called *name*, if its sites were declared."""
    return model.__dict__.get(DOORWAYS, {}).get(name)


def doorways(model: nn.Module) -> Iterable[Doorway]:
    """Return all doorways of *model*."""
    return model.__dict__.get(DOORWAYS, {}).values()


def declared(model: nn.Module) -> bool:
    """Tell whether the sites of *model* were declared for torch.compile."""
    return DOORWAYS in model.__dict__


def close(model: nn.Module) -> None:
    """Take all doorways of *model* away; code that was compiled with them is compiled anew at its next call."""
    for name, doorway in model.__dict__.get(DOORWAYS, {}).items():
        for handle in doorway.handles:
            handle.remove()
        delattr(model.get_submodule(name), DOORS)
    model.__dict__.pop(DOORWAYS, None)


def compiled_parts(model: nn.Module) -> tuple[str, ...]:
    """Return the names of the modules on which `.compile()` was called ("" is the model itself)."""
    return tuple(
        name
        for name, module in cast("Iterable[tuple[str, nn.Module]]", model.named_modules())
        if module._compiled_call_impl is not None  # pyright: ignore[reportPrivateUsage]
    )
