"""Places kept open for seeds in a model that torch.compile compiles.

A compiled model does not notice hooks that come later. So a site that is declared before compilation gets its hook at
once, and the hook looks up who is there. It is a graph break: what a seed does is no part of the compiled code, which
therefore never changes.
"""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar, cast

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

DOORWAYS = "_esper_doorways"
REASON = "a growth site that was wrapped with compiled=True"

Visitor = Callable[..., Any]
Method = TypeVar("Method", bound=Callable[..., Any])


def _outside_compiled_code(method: Method) -> Method:
    return cast("Method", torch.compiler.disable(method, reason=REASON))


class Doorway:
    """One module's permanent hooks. It can be copied and pickled with its model."""

    def __init__(self) -> None:
        self.leaving: list[Visitor] = []
        self.entering: list[Visitor] = []
        self.handles: list[RemovableHandle] = []

    @_outside_compiled_code
    def on_exit(self, module: nn.Module, args: object, output: object) -> object:
        """Show the module's output to whoever is there; None leaves it as it is."""
        answer: object = None
        for visitor in tuple(self.leaving):
            found = visitor(module, args, output)
            if found is not None:
                answer = output = found
        return answer

    @_outside_compiled_code
    def on_entry(self, module: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
        """Show the module's input to whoever is there."""
        for visitor in tuple(self.entering):
            visitor(module, args, kwargs)


def is_doorway(hook: object) -> bool:
    """Tell whether *hook* keeps a place open."""
    return isinstance(getattr(hook, "__self__", None), Doorway)


class Place:
    """One visitor's place in a doorway; gives it up with `remove`."""

    def __init__(self, visitors: list[Visitor], visitor: Visitor) -> None:
        self._visitors, self._visitor = visitors, visitor
        visitors.append(visitor)

    def remove(self) -> None:
        """Leave. No effect the second time."""
        if self._visitor in self._visitors:
            self._visitors.remove(self._visitor)


def declare(model: nn.Module, exits: set[str], entries: set[str]) -> None:
    """Keep the outputs of *exits* and the inputs of *entries* open. Call it before the model is compiled."""
    kept: dict[str, Doorway] = model.__dict__.setdefault(DOORWAYS, {})
    for name in sorted(exits | entries):
        doorway = kept.setdefault(name, Doorway())
        module = model.get_submodule(name)
        if name in exits:
            doorway.handles.append(module.register_forward_hook(doorway.on_exit))
        if name in entries:
            doorway.handles.append(module.register_forward_pre_hook(doorway.on_entry, with_kwargs=True))


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
    """Take all doorways of *model* away; compiled code that has them goes on without effect."""
    for doorway in doorways(model):
        for handle in doorway.handles:
            handle.remove()
    model.__dict__.pop(DOORWAYS, None)


def compiled_parts(model: nn.Module) -> tuple[str, ...]:
    """Return the names of the modules on which `.compile()` was called ("" is the model itself)."""
    return tuple(
        name
        for name, module in cast("Iterable[tuple[str, nn.Module]]", model.named_modules())
        if module._compiled_call_impl is not None  # pyright: ignore[reportPrivateUsage]
    )
