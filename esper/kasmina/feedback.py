"""What a live seed sends back to the host: gradients along its own path, kept finite and compared with the host's."""

import math
from collections.abc import Callable
from functools import partial

import msgspec
import torch
from torch import Tensor

from esper.kasmina.errors import SeedFault

# How many times larger than what it was told a seed's gradient to the host may be, by their root mean squares.
MAX_GAIN = 1e3
# One batch in so many is compared, because that waits for the device.
EVERY_BATCHES = 8


class Agreement(msgspec.Struct):
    """Cosines between the gradient that reaches the host through the seed and the one that does not, in one epoch."""

    batches: int = 0
    compared: int = 0
    total: float = 0.0
    last: float | None = None

    @property
    def mean(self) -> float | None:
        """The mean cosine of this epoch, else of the last one that had any; below 0 they pull apart."""
        return self.total / self.compared if self.compared else self.last

    def new_epoch(self) -> None:
        """Begin the mean afresh."""
        self.last, self.compared, self.total = self.mean, 0, 0.0


class Feedback:
    """Stands between a live seed and what it reads. *blame* hears of a gradient that must not reach the host."""

    def __init__(self, agreement: Agreement, blame: Callable[[SeedFault, bool], None]) -> None:
        self._agreement, self._blame = agreement, blame

    def between(self, entry: Tensor, seed: Callable[[Tensor], Tensor], loss_scale: float, *, training: bool) -> Tensor:
        """Return what *seed* makes of a copy of *entry*; what it does to that copy is its own affair.

        A gradient that is not finite, or far too large, is taken out on its way back; the host learns from its own.
        Gradients are compared in *training* passes.
        """
        read = entry.clone()
        if not (torch.is_grad_enabled() and entry.requires_grad):
            return seed(read)
        told, compared = _Told(), training and self._is_compared()
        output = seed(read)

        def back(gradient: Tensor) -> Tensor | None:
            fault = told.misheard(gradient)
            if fault is not None:
                # Scaled losses overflow as a matter of course: that is counted, and nobody's fault yet.
                self._blame(fault, loss_scale == 1.0)
                return torch.zeros_like(gradient)
            if compared:
                told.through_seed = gradient
            return None

        read.register_hook(back)
        if output.requires_grad:
            output.register_hook(told.hear)
        if compared:
            entry.register_hook(partial(self._compare, told))
        return output

    def _is_compared(self) -> bool:
        self._agreement.batches += 1
        return self._agreement.batches % EVERY_BATCHES == 0

    def _compare(self, told: "_Told", total: Tensor) -> None:
        through_seed, told.through_seed = told.through_seed, None
        if through_seed is None:
            return
        seeds, hosts = through_seed.detach().double(), (total.detach() - through_seed.detach()).double()
        lengths = math.sqrt(seeds.square().sum().item() * hosts.square().sum().item())
        if 0.0 < lengths < math.inf:
            self._agreement.compared += 1
            self._agreement.total += (seeds * hosts).sum().item() / lengths


class _Told:
    """The gradient that a seed's output was given, in one pass."""

    def __init__(self) -> None:
        self.finite = True
        self.through_seed: Tensor | None = None
        self._rms = 0.0

    def hear(self, gradient: Tensor) -> None:
        """Take note of it."""
        self._rms = _rms(gradient)
        self.finite = self._rms < math.inf

    def misheard(self, gradient: Tensor) -> SeedFault | None:
        """Return what is wrong with the *gradient* that the seed has made of it, if anything is."""
        rms = _rms(gradient)
        if not self.finite:
            # The host's own trouble.
            return None
        if not rms < math.inf:
            return SeedFault("non_finite", "its gradient to the host is infinite or undefined")
        if rms > MAX_GAIN * self._rms > 0.0:
            return SeedFault("too_large", f"its gradient to the host is {rms / self._rms:.2g} times what it was told")
        return None


def _rms(gradient: Tensor) -> float:
    return math.sqrt(gradient.detach().double().square().mean().item())
