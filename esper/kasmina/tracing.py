"""A grown model's forward pass, written down as plain modules and arithmetic."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

import msgspec
from torch import fx, nn
from torch.fx.proxy import TraceError

from esper.kasmina.blending import Blend
from esper.kasmina.doorway import is_doorway
from esper.kasmina.errors import UnwrapRefused
from esper.kasmina.layout import Layout
from esper.leyline.v1.enums_pb2 import BlendMode

_UNTRACEABLE = (TraceError, TypeError, RuntimeError, NotImplementedError, AttributeError, KeyError)
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


class Fossil(msgspec.Struct, frozen=True):
    """A kept seed: *module* reads *entry*'s input (None: *exit*'s output) and is blended into *exit*'s output.

    *first* is set where that output is a pair and its first element grows; the layouts are those of what is blended
    and of what is read.
    """

    module: nn.Module
    entry: nn.Module | None
    exit: nn.Module
    blend: Blend
    alpha: float
    first: bool = False
    layout: Layout = Layout()
    input_layout: Layout = Layout()

    @property
    def mode(self) -> BlendMode:
        """How the seed joins."""
        return self.blend.mode


def grown_graph(model: nn.Module, fossils: Iterable[Fossil]) -> fx.Graph:
    """Return the graph of *model* with its *fossils*; torch.nn's own layers stay calls to the modules they are.

    Raises:
        UnwrapRefused: the forward pass depends on values, or differs between training and evaluation; or it runs hooks.
    """
    kept = tuple(fossils)
    _refuse_hooks(model, kept)
    flags = [(module, module.training) for module in model.modules()]
    try:
        training, evaluation = (_traced(model.train(mode), kept) for mode in (True, False))
    finally:
        for module, flag in flags:
            module.training = flag
    if _source(training) != _source(evaluation):
        raise UnwrapRefused(
            "the forward pass reads self.training, so that it is not the same in training and in evaluation; "
            "use modules that know their mode (nn.Dropout in place of F.dropout)"
        )
    return training


def hooked(module: nn.Module) -> bool:
    """Tell whether a hook of the user's runs when *module* does; one that keeps a place for seeds is none of theirs."""
    tables = (module.__dict__[name] for name in _HOOKS)
    return any(not is_doorway(hook) for table in tables for hook in table.values())


def _refuse_hooks(model: nn.Module, fossils: tuple[Fossil, ...]) -> None:
    """Refuse hooks on modules that the graph does not call: tracing would run them on placeholders, then drop them."""
    tracer = _Grafter(fossils)
    for name, module in cast("Iterable[tuple[str, nn.Module]]", model.named_modules()):
        if hooked(module) and not tracer.is_leaf_module(module, name):
            raise UnwrapRefused(
                f"{name or 'the model'} has a hook of yours, and only hooks on layers of torch.nn stay in the plain "
                "model: take it off (`handle.remove()`), or move what it does into the forward pass"
            )


class _Grafter(fx.Tracer):
    """Traces a model and grafts the fossils in where the hooks had them."""

    def __init__(self, fossils: tuple[Fossil, ...]) -> None:
        super().__init__()
        self._fossils = fossils
        self._inputs: dict[int, Any] = {}

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Record one module call, and graft what belongs at its output."""
        for index, fossil in enumerate(self._fossils):
            if m is fossil.entry:
                self._inputs[index] = next(iter([*args, *kwargs.values()]))
        output = super().call_module(m, forward, args, kwargs)
        for index, fossil in enumerate(self._fossils):
            if m is fossil.exit:
                output = self._grafted(output, index, fossil)
        return output

    def _grafted(self, output: Any, index: int, fossil: Fossil) -> Any:
        host = fossil.layout.canonical(output[0] if fossil.first else output)
        entry = host if fossil.entry is None else fossil.input_layout.canonical(self._inputs[index])
        try:
            seed = fossil.module(entry)
        except _UNTRACEABLE as error:
            kind = type(fossil.module).__name__
            raise UnwrapRefused(f"torch.fx cannot follow a kept {kind} ({type(error).__name__}: {error})") from error
        gained = fossil.blend.gain(host, seed, entry, fossil.alpha)
        joined = fossil.layout.host_order(host + gained)
        return (joined, output[1]) if fossil.first else joined


def _traced(model: nn.Module, fossils: tuple[Fossil, ...]) -> fx.Graph:
    try:
        traced = _Grafter(fossils).trace(model)
    except _UNTRACEABLE as error:
        raise UnwrapRefused(f"torch.fx cannot follow its forward pass ({type(error).__name__}: {error})") from error
    # A graph of its own: the traced one remembers this file's tracer.
    plain, copies = fx.Graph(), dict[fx.Node, fx.Node]()
    plain.output(plain.graph_copy(traced, copies))
    plain.lint()
    return plain


def _source(graph: fx.Graph) -> str:
    return graph.python_code("self").src


def plain(module: nn.Module) -> nn.Module:
    """Return *module* without any class from outside torch: its parameters and torch layers under the same names."""
    children: Mapping[str, nn.Module] = dict(module.named_children())
    if not type(module).__module__.startswith("torch."):
        bare = nn.Module()
        for name, parameter in module.named_parameters(recurse=False):
            bare.register_parameter(name, parameter)
        for name, buffer in module.named_buffers(recurse=False):
            bare.register_buffer(name, buffer)
        bare.training, module = module.training, bare
    for name, child in children.items():
        module.add_module(name, plain(child))
    return module
