"""An exported graph through Inductor, forward and backward, and the measurements that say whether it pays."""

import platform
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor, nn
from torch._inductor import config as inductor_config
from torch._inductor import standalone_compile
from torch._inductor.cpu_vec_isa import pick_vec_isa

from esper.leyline.canonical import sha256_hex
from esper.leyline.v1.site_pb2 import SiteShape
from esper.tezzeret.exporting import Exported

# (parameters by name, features) -> what the module returns.
Callee: TypeAlias = Callable[[Mapping[str, Tensor], Tensor], Tensor]

WARM_UP_CALLS = 3
TIMED_CALLS = 24
MEASURED_BATCH = 32
PROBED_BATCHES = (1, 7, MEASURED_BATCH)
RTOL, ATOL = 1e-3, 1e-4
# What a compiled kernel must save to be worth its risk.
WORTHWHILE_SPEEDUP = 1.05

COMPILER_FAILURES = (RuntimeError, AssertionError, ValueError, TypeError, OSError, subprocess.SubprocessError)


def prepare_compiler() -> None:
    """Do once what every compilation needs, so that forked children need not."""
    torch.set_num_threads(1)
    # Dropout then draws what the eager module would draw, so that the two can be compared.
    inductor_config.fallback_random = True
    pick_vec_isa()


def host_fingerprint() -> str:
    """Return a digest of what compiled code and its timings depend on here."""
    facts = (torch.__version__, platform.python_version(), platform.platform(), str(pick_vec_isa()))
    return sha256_hex("\n".join((*facts, str(torch.get_num_threads()))).encode())


def eager_callee(module: nn.Module) -> Callee:
    """Return *module* itself as a function of its parameters."""

    def call(parameters: Mapping[str, Tensor], features: Tensor) -> Tensor:
        return torch.func.functional_call(module, dict(parameters), (features,))

    return call


def plain_callee(module: nn.Module) -> Callee:
    """Return *module* called as a trainer calls it, with its own parameters: what compiled code is timed against."""

    def call(parameters: Mapping[str, Tensor], features: Tensor) -> Tensor:
        return module(features)

    return call


def compile_exported(exported: Exported) -> Callee:
    """Return the compiled form of *exported*, trainable, as a function of its parameters.

    Raises:
        any of `COMPILER_FAILURES`: it cannot be compiled on this host.
    """
    program = exported.program
    values = [node.meta["val"] for node in program.graph.nodes if node.op == "placeholder"]
    fake_mode = values[0].fake_mode
    # Fresh fake inputs that require grad make AOTAutograd emit the joint graph, forward and backward.
    with fake_mode:
        inputs: list[Any] = [
            torch.empty_strided(value.shape, value.stride(), dtype=value.dtype).requires_grad_() for value in values
        ]
    compiled = cast(
        "Callable[..., Sequence[Tensor]]",
        standalone_compile(
            program.graph_module,
            inputs,
            dynamic_shapes="from_example_inputs",
            options={},
            aot=True,
            fake_mode=fake_mode,
        ),
    )
    order = tuple(program.graph_signature.parameters)

    def call(parameters: Mapping[str, Tensor], features: Tensor) -> Tensor:
        return compiled(*(parameters[name] for name in order), features)[0]

    return call


def disagreement(eager: Callee, compiled: Callee, module: nn.Module, shape: SiteShape) -> str | None:
    """Return how *compiled* differs from *eager* in output or gradients, or None if it does not.

    Compared on weights away from birth, where outputs and gradients would be zero whatever the code did.
    """
    generator = torch.Generator().manual_seed(0)
    for batch in PROBED_BATCHES:
        weights = {
            name: (own + 0.1 * _drawn(own.shape, own.dtype, generator)).detach().requires_grad_()
            for name, own in module.named_parameters()
        }
        features = _drawn((batch, *shape.input_size), getattr(torch, shape.dtype), generator).requires_grad_()
        wish = _drawn((batch, *shape.output_size), getattr(torch, shape.dtype), generator)
        expected, found = (_run(callee, weights, features, wish) for callee in (eager, compiled))
        for what, one, other in zip(("output", "input gradient", *weights), expected, found, strict=True):
            if not torch.allclose(one, other, rtol=RTOL, atol=ATOL):
                return f"{what} differs by {float((one - other).abs().max()):.3g} at batch {batch}"
    return None


def time_side_by_side(callees: Sequence[Callee], module: nn.Module, shape: SiteShape) -> tuple[tuple[float, ...], ...]:
    """Return the milliseconds of each callee's forward and backward, call by call in turns, warm-up left out."""
    generator = torch.Generator().manual_seed(1)
    weights = dict(module.named_parameters())
    features = _drawn((MEASURED_BATCH, *shape.input_size), getattr(torch, shape.dtype), generator).requires_grad_()
    wish = _drawn((MEASURED_BATCH, *shape.output_size), getattr(torch, shape.dtype), generator)
    taken: list[list[float]] = [[] for _ in callees]
    for turn in range(WARM_UP_CALLS + TIMED_CALLS):
        for callee, samples in zip(callees, taken, strict=True):
            began = time.perf_counter()
            _run(callee, weights, features, wish)
            if turn >= WARM_UP_CALLS:
                samples.append((time.perf_counter() - began) * 1000.0)
    return tuple(tuple(samples) for samples in taken)


def _run(callee: Callee, weights: Mapping[str, Tensor], features: Tensor, wish: Tensor) -> tuple[Tensor, ...]:
    """Return the output and the gradients of input and weights; the same random draws at every call."""
    torch.manual_seed(0)
    output = callee(weights, features)
    return (output.detach(), *torch.autograd.grad(output, (features, *weights.values()), wish))


def _drawn(size: Sequence[int], dtype: torch.dtype, generator: torch.Generator) -> Tensor:
    return torch.randn(tuple(size), generator=generator).to(dtype)
