"""Hooks at a site, and what comes by."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor, nn

from esper.kasmina.doorway import Place, doorway_at, doorways
from esper.kasmina.element import described, element, first_hint, replaced
from esper.kasmina.layout import Layout
from esper.leyline.v1.site_pb2 import Site


def in_backward() -> bool:
    """Tell whether a backward pass is running: a forward pass inside is a recomputation (torch.utils.checkpoint)."""
    return current_backward() != -1


def current_backward() -> int:
    """Return the id of the backward pass that is running, -1 outside."""
    return torch._C._current_graph_task_id()  # pyright: ignore[reportPrivateUsage]


def fingerprint(activation: Tensor) -> str:
    """Return a short text by which an activation that is computed again is known."""
    return f"{tuple(activation.shape)}|{float(activation.detach().double().sum()).hex()}"


class Crossing:
    """One pass through a site. `entry` and `host` have the sample first, in the order that seeds know.

    `problem` says why there is no `host`, or no `entry`; `output` is all that the exit returned.
    """

    __slots__ = ("_layout", "_tensor", "entry", "host", "output", "problem")

    def __init__(self, output: object, entry: Tensor | None, tensor: Tensor | None, layout: Layout) -> None:
        self.output, self.entry, self.problem = output, entry, ""
        self._tensor, self._layout = tensor, layout
        self.host = None if tensor is None else layout.canonical(tensor)

    @property
    def tensor(self) -> Tensor | None:
        """The very tensor that the model goes on with."""
        return self._tensor

    def on_gradient(self, take: Callable[[Tensor], None]) -> None:
        """Hand the loss's gradient at the host's activation to *take* when it comes."""
        layout, tensor = self._layout, self._tensor
        if tensor is None:
            return

        def arrived(gradient: Tensor) -> None:
            take(layout.canonical(gradient.detach()))

        tensor.register_hook(arrived)


class Removable(Protocol):
    """What takes a hook off."""

    def remove(self) -> None:
        """Take it off."""
        ...


class Tap:
    """Hooks at a site. *visit* gets each pass; what it returns replaces the host's activation, None leaves it.

    *passing*: it need not see each, one rehearsal of a compiled model will do.
    """

    def __init__(
        self, model: nn.Module, site: Site, visit: Callable[[Crossing], Tensor | None], *, passing: bool = False
    ) -> None:
        self.exit = model.get_submodule(site.exit_module)
        self.traced = False
        self._muted = False
        self._visit = visit
        self._path = tuple(site.output)
        self._label = site.label
        self._layout, self._input_layout = Layout(site.layout), Layout(site.input_layout)
        self._span = bool(site.entry_module)
        # One for forward passes and one for recomputations in backward passes.
        self._entered = {False: _Entered(), True: _Entered()}
        self._before: tuple[str, Tensor | None] = ("", None)
        self._handles: list[Removable] = [_leaving(model, site.exit_module, self._on_exit, passing)]
        if self._span:
            self._handles.append(_entering(model, site.entry_module, self._on_entry, passing))

    @contextmanager
    def muted(self) -> Generator[None]:
        """Let passes by unseen."""
        self._muted = True
        try:
            yield
        finally:
            self._muted = False

    def remove(self) -> None:
        """Take the hooks off."""
        for handle in self._handles:
            handle.remove()
        self._entered = {False: _Entered(), True: _Entered()}
        self._before = ("", None)

    def owns(self, hook: object) -> bool:
        """Tell whether *hook* is one of this tap's."""
        return getattr(hook, "__self__", None) is self

    def _on_entry(self, module: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
        if torch.compiler.is_compiling():
            self.traced = True
            return
        if self._muted:
            return
        self._entered[in_backward()].came(next(iter([*args, *kwargs.values()]), None))

    def _on_exit(self, module: nn.Module, args: object, output: object) -> object:
        if torch.compiler.is_compiling():
            # The compiled code would keep this hook for ever; who reads `traced` refuses such a model.
            self.traced = True
            return None
        if self._muted:
            return None
        crossing = self._crossing(output)
        answer = self._visit(crossing)
        tensor = crossing.tensor
        if answer is None or tensor is None:
            return None
        return replaced(output, self._path, self._layout.restored(answer, tensor))

    def _crossing(self, output: object) -> Crossing:
        tensor, problem = self._tensor(output)
        crossing = Crossing(output, None, tensor, self._layout)
        if not self._span:
            crossing.entry = crossing.host
        elif tensor is not None:
            crossing.entry, problem = self._entry(tensor)
            # A span may lead from one device to another; its seed lives where it ends.
            if crossing.entry is not None:
                crossing.entry = crossing.entry.to(tensor.device)
        crossing.problem = problem
        return crossing

    def _tensor(self, output: object) -> tuple[Tensor | None, str]:
        try:
            found = element(output, self._path)
        except LookupError as missing:
            return None, f"its module returns {described(output)}: {missing.args[0]}"
        if not isinstance(found, Tensor):
            hint = first_hint(found)
            advice = f": declare which element grows, esper.site({self._label!r}, output={hint})" if hint else ""
            return None, f"its module returns {described(found)}, not a tensor{advice}"
        misfit = self._layout.misfit(found)
        return (None, misfit) if misfit else (found, "")

    def _entry(self, tensor: Tensor) -> tuple[Tensor | None, str]:
        again = in_backward()
        entry, problem = self._entered[again].taken()
        if again and entry is None and self._before[0] == fingerprint(tensor):
            # Only the exit is computed again; its entry lies before the checkpointed segment.
            entry = self._before[1]
        if entry is None:
            return None, problem
        if not again and torch.is_grad_enabled():
            self._before = (fingerprint(tensor), entry)
        misfit = self._input_layout.misfit(entry)
        return (None, f"what it reads: {misfit}") if misfit else (self._input_layout.canonical(entry), "")


class _Entered:
    """What came into a span's entry and has not been taken at its exit."""

    def __init__(self) -> None:
        self._given: object = None
        self._times = 0
        self._graph = False

    def came(self, given: object) -> None:
        self._given, self._times, self._graph = given, self._times + 1, torch.is_grad_enabled()

    def taken(self) -> tuple[Tensor | None, str]:
        given, times, graph = self._given, self._times, self._graph
        self._given, self._times = None, 0
        if times > 1:
            return None, f"its entry runs {times} times before its exit runs once"
        if times and graph != torch.is_grad_enabled():
            return None, "a checkpointed segment lies between its entry and its exit: pass use_reentrant=False"
        if not isinstance(given, Tensor):
            return None, "its entry does not run before its exit, or is not given a tensor"
        return given, ""


def _leaving(model: nn.Module, name: str, visitor: Callable[..., object], passing: bool) -> Removable:
    doorway = doorway_at(model, name)
    if doorway is not None:
        return Place(doorway.doors, doorway.leaving, visitor, passing=passing)
    return model.get_submodule(name).register_forward_hook(visitor)


def _entering(model: nn.Module, name: str, visitor: Callable[..., None], passing: bool) -> Removable:
    doorway = doorway_at(model, name)
    if doorway is not None:
        return Place(doorway.doors, doorway.entering, visitor, passing=passing)
    return model.get_submodule(name).register_forward_pre_hook(visitor, with_kwargs=True)


def hooks_left(model: nn.Module, tap: Tap) -> int:
    """Count the hooks of *tap* that *model* still holds."""
    return sum(tap.owns(hook) for hook in _held(model))


def taps_on(model: nn.Module) -> list[Tap]:
    """Return all taps that see something of *model*."""
    found = {id(owner): owner for hook in _held(model) if isinstance(owner := getattr(hook, "__self__", None), Tap)}
    return list(found.values())


def _held(model: nn.Module) -> list[object]:
    held: list[object] = [
        hook
        for part in model.modules()
        for table in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")
        for hook in part.__dict__[table].values()
    ]
    return held + [visitor for doorway in doorways(model) for visitor in (*doorway.leaving, *doorway.entering)]
