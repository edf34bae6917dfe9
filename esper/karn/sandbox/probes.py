"""What is measured about a module that nobody trusts, harmless probes first."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from esper.karn.sandbox.findings import GREATEST, Finding
from esper.leyline.v1.site_pb2 import SiteShape

BATCH = 4
WARM_UP_CALLS, WATCHED_CALLS = 8, 24
CALLS = 200
REPETITIONS = 10
NUDGE = 1e-4
# A gradient that comes back this much longer or shorter is no longer what the loss said.
GREATEST_GAIN, LEAST_GAIN = 4.0, 0.2
GREATEST_SENSITIVITY = 10.0
GREATEST_DIFFERENCE = 1e-5
GREATEST_GROWTH_MB = 0.5


def probes(module: nn.Module, shape: SiteShape, *, adds: bool) -> Iterator[Callable[[], Finding]]:
    """Yield the probes, in order. *adds* says whether the module returns what is to be added to its input."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn((BATCH, *shape.input_size), generator=generator).to(getattr(torch, shape.dtype))

    def flow(entering: Tensor) -> Tensor:
        torch.manual_seed(0)
        output: Tensor = module(entering)
        return entering + output if adds else output

    module.eval()
    yield lambda: Finding(hazard="explode", value=_gain(flow, features), high=GREATEST_GAIN)
    yield lambda: Finding(hazard="vanish", value=_gain(flow, features), low=LEAST_GAIN)
    yield lambda: Finding(hazard="leak", value=_growth_mb(flow, features), high=GREATEST_GROWTH_MB)
    yield lambda: Finding(hazard="nonfinite", value=_nonfinite(flow, features), high=0.0)
    yield lambda: Finding(hazard="nondeterminism", value=_difference(flow, features), high=GREATEST_DIFFERENCE)
    yield lambda: Finding(hazard="sensitivity", value=_sensitivity(flow, features), high=GREATEST_SENSITIVITY)


def _gain(flow: Callable[[Tensor], Tensor], features: Tensor) -> float:
    """Return how much longer the gradient is that comes back than the one that was sent."""
    entering = features.clone().requires_grad_()
    output = flow(entering)
    # Short enough that a clamp, which shortens long ones, lets it pass.
    sent = torch.full_like(output, 1e-4)
    output.backward(sent)
    return 0.0 if entering.grad is None else _length(entering.grad) / _length(sent)


@torch.no_grad()
def _growth_mb(flow: Callable[[Tensor], Tensor], features: Tensor) -> float:
    for _ in range(WARM_UP_CALLS):
        flow(features)
    before = _resident_bytes()
    for _ in range(WATCHED_CALLS):
        flow(features)
    return (_resident_bytes() - before) / WATCHED_CALLS / 1e6


@torch.no_grad()
def _nonfinite(flow: Callable[[Tensor], Tensor], features: Tensor) -> float:
    bad = sum(not bool(torch.isfinite(flow(features)).all()) for _ in range(CALLS))
    return bad / CALLS


@torch.no_grad()
def _difference(flow: Callable[[Tensor], Tensor], features: Tensor) -> float:
    first = flow(features)
    return max(float((flow(features) - first).abs().nan_to_num().max()) for _ in range(REPETITIONS))


@torch.no_grad()
def _sensitivity(flow: Callable[[Tensor], Tensor], features: Tensor) -> float:
    """Return the greatest relative change of the output, per relative change of the input."""
    first, generator, greatest = flow(features), torch.Generator().manual_seed(1), 0.0
    for _ in range(REPETITIONS):
        nudge = torch.randn(features.shape, generator=generator).to(features.dtype) * NUDGE
        moved = _length(flow(features + nudge) - first) / _length(first)
        greatest = max(greatest, moved * _length(features) / _length(nudge))
    return greatest


def _length(numbers: Tensor) -> float:
    """Return the Euclidean norm; GREATEST if there is none."""
    squares = float(numbers.double().square().sum())
    return math.sqrt(squares) if math.isfinite(squares) else GREATEST


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096
