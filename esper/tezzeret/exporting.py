"""The exported graph of a module, and the guard that torch.export found to hold for it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import msgspec
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram, export
from torch.fx import Node

from esper.leyline.v1.site_pb2 import SiteShape
from esper.tezzeret.errors import ForgeFailed
from esper.urza.guard import BATCH, LARGEST_BATCH, Guard, ParameterGuard, TensorGuard

_EXPORT_BATCH = 8


class Exported(msgspec.Struct, frozen=True):
    """An exported module: the program, its guard, and its graph's text (for audit; never executed)."""

    program: ExportedProgram
    guard: Guard
    graph: bytes

    @property
    def remembers(self) -> bool:
        """Whether the module keeps something from call to call, as running means."""
        return bool(self.guard.buffers)

    @property
    def computes(self) -> bool:
        """Whether the graph does anything at all."""
        return any(node.op == "call_function" for node in self.program.graph.nodes)


def export_module(module: nn.Module, shape: SiteShape) -> Exported:
    """Export *module* for any batch from 1 to `LARGEST_BATCH`.

    One that keeps something from call to call is exported as it evaluates, where it only reads that.

    Raises:
        ForgeFailed: `export`; the module holds something that a graph cannot.
    """
    example = torch.zeros((_EXPORT_BATCH, *shape.input_size), dtype=getattr(torch, shape.dtype))
    sizes = ({0: Dim("batch", min=1, max=LARGEST_BATCH)},)
    training = module.training
    module.train(training and not any(True for _ in module.buffers()))
    try:
        program = export(module, (example,), dynamic_shapes=sizes)
    except (RuntimeError, ValueError, TypeError, AssertionError) as error:
        raise ForgeFailed("export", f"{type(error).__name__}: {error}") from error
    finally:
        module.train(training)
    return Exported(program, _guard(program, module), _graph_text(program))


def _guard(program: ExportedProgram, module: nn.Module) -> Guard:
    signature, nodes = program.graph_signature, {node.name: node for node in program.graph.nodes}
    constraints = cast("Mapping[object, Any]", program.range_constraints)
    ranges = {str(symbol): (int(found.lower), int(found.upper)) for symbol, found in constraints.items()}
    names = {symbol: f"d{index}" for index, symbol in enumerate(sorted(ranges))}
    if len(names) != 1:
        raise ForgeFailed("export", f"one dimension should vary, the batch; the graph has {sorted(names)}")
    return Guard(
        inputs=tuple(_tensor_guard(nodes[name], names) for name in signature.user_inputs if isinstance(name, str)),
        outputs=tuple(_tensor_guard(nodes[name], names) for name in signature.user_outputs if isinstance(name, str)),
        parameters=_tensors(module.named_parameters()),
        buffers=_tensors(module.named_buffers()),
        ranges={BATCH: next(iter(ranges.values()))},
    )


def _tensors(named: Iterable[tuple[str, Tensor]]) -> tuple[ParameterGuard, ...]:
    return tuple(ParameterGuard(name, tuple(tensor.shape), _dtype(tensor)) for name, tensor in named)


def _tensor_guard(node: Node, names: dict[str, str]) -> TensorGuard:
    value = node.meta["val"]
    if not isinstance(value, Tensor):
        raise ForgeFailed("export", f"{node.name} is no tensor")
    extents: Sequence[int | torch.SymInt] = value.shape
    sizes = (names[str(size)] if isinstance(size, torch.SymInt) else size for size in extents)
    return TensorGuard(tuple(sizes), _dtype(value))


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _graph_text(program: ExportedProgram) -> bytes:
    """Return the graph as text that is the same for the same module, wherever and whenever it is exported."""
    lines = [line.rstrip() for line in program.graph_module.code.strip().splitlines()]
    return msgspec.json.encode({"code": lines, "schema": 1}, order="deterministic")
