"""Who does what in a mixture of experts: routers, the pressure that balances them, and banks of experts."""

from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import Tensor, fx, nn

from esper.karn.modules.layers import Grown, uniform

# Dimensions: B batch, N positions, E experts, K what one expert takes, C channels, W hidden width.


class _Pressed(torch.autograd.Function):
    """Its input, on whose gradient a pressure is added."""

    @staticmethod
    def forward(ctx: Any, probabilities: Tensor, pressure: Tensor) -> Tensor:
        ctx.save_for_backward(pressure)
        return probabilities.view_as(probabilities)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (pressure,) = ctx.saved_tensors
        return gradients[0] + pressure, None


def balanced(probabilities_BNE: Tensor, chosen_BNE: Tensor, weight: float) -> Tensor:
    """Return *probabilities_BNE*, with the gradient of a balancing loss (Fedus et al. 2022) added on the way back.

    The loss is weight * E * sum over experts of (share of choices * mean probability). It needs no port to the host's
    loss. A graph that is traced to be kept is done with balancing: there it is left out.
    """
    if isinstance(probabilities_BNE, fx.Proxy) or torch.compiler.is_compiling():
        return probabilities_BNE
    experts = probabilities_BNE.shape[-1]
    share_E = chosen_BNE.detach().float().mean((0, 1))
    rows = probabilities_BNE.numel() // experts
    pressure = (weight * experts / rows * share_E).to(probabilities_BNE.dtype).expand_as(probabilities_BNE)
    return cast("Tensor", _Pressed.apply(probabilities_BNE, pressure))


def best(probabilities_BNE: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the shares of each position's *count* best experts, and a one for each that was chosen, else zeros."""
    values, index = probabilities_BNE.topk(count, -1)
    nobody = torch.zeros_like(probabilities_BNE)
    shares = nobody.scatter(-1, index, values / values.sum(-1, keepdim=True).clamp(min=1e-9))
    return shares, nobody.scatter(-1, index, torch.ones_like(values)).detach()


class Router(nn.Module):
    """Scores the experts for every position."""

    def __init__(self, channels: int, experts: int) -> None:
        super().__init__()
        self.score = nn.Linear(channels, experts, bias=False)

    def forward(self, features_BNC: Tensor) -> Tensor:
        """Return the scores (B, N, E)."""
        return self.score(features_BNC)


class MapBank(Grown):
    """The smallest experts: one map of channels each, zero at birth; all of them read every position."""

    def __init__(self, channels: int, experts: int) -> None:
        super().__init__()
        self.maps = nn.Linear(channels * experts, channels, bias=False)

    def zero_at_birth(self) -> Iterable[Tensor]:
        """Return the maps."""
        return (self.maps.weight,)

    def forward(self, features_BNC: Tensor, shares_BNE: Tensor) -> Tensor:
        """Return the experts' answers, each with its share."""
        shares = shares_BNE.to(features_BNC.dtype)
        return self.maps((features_BNC.unsqueeze(-2) * shares.unsqueeze(-1)).flatten(-2))


class ExpertBank(Grown):
    """Experts of two maps with an activation between, each for what is handed to it; the second is zero at birth."""

    def __init__(self, channels: int, hidden: int, experts: int, *, gated: bool = False) -> None:
        super().__init__()
        self.gated = gated
        self.up = nn.Parameter(torch.empty(experts, channels, 2 * hidden if gated else hidden))
        self.down = nn.Parameter(torch.empty(experts, hidden, channels))

    def zero_at_birth(self) -> Iterable[Tensor]:
        """Return the second maps."""
        return (self.down,)

    def draw(self, generator: torch.Generator) -> None:
        """Draw the first maps."""
        uniform(self.up, self.up.shape[1], generator)

    def forward(self, handed_BEKC: Tensor) -> Tensor:
        """Return each expert's answers to what it was handed."""
        hidden = torch.einsum("bekc,ecw->bekw", handed_BEKC, self.up)
        if self.gated:
            gate, value = torch.chunk(hidden, 2, -1)
            inner = nn.functional.silu(gate) * value
        else:
            inner = nn.functional.gelu(hidden)
        return torch.einsum("bekw,ewc->bekc", inner, self.down)
