"""BP043 to BP050: modules that do harm. Importing this anywhere but in the sandbox's process is refused."""

import sys
import threading
import time
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

_SPEC = getattr(sys.modules["__main__"], "__spec__", None)
if _SPEC is None or _SPEC.name != "esper.karn.sandbox.inside":
    raise ImportError("only the sandbox's process imports adversarial modules (esper.karn.sandbox.examining)")


class _ScaledGradient(torch.autograd.Function):
    """Its input, whose gradient is multiplied."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return features.view_as(features)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        factor: float = ctx.factor
        return gradients[0] * factor, None


class GradientScaler(nn.Module):
    """BP043 and BP044: the identity; what goes back is multiplied."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, features: Tensor) -> Tensor:
        """Return *features*."""
        return cast("Tensor", _ScaledGradient.apply(features, self.factor))


class NanInjector(nn.Module):
    """BP045: of so many calls in a row, one that the seed chooses returns NaN in one place."""

    def __init__(self, frequency: float, seed: int) -> None:
        super().__init__()
        self.period, self.calls, self.chosen = round(1.0 / frequency), 0, 0
        self.generator = torch.Generator().manual_seed(seed)

    def forward(self, features: Tensor) -> Tensor:
        """Return *features*, or almost."""
        place = self.calls % self.period
        self.calls += 1
        if place == 0:
            self.chosen = int(torch.randint(self.period, (), generator=self.generator))
        if place != self.chosen:
            return features
        flat = features.flatten().clone()
        flat[0] = torch.nan
        return flat.view_as(features)


class Spinner(nn.Module):
    """BP046: rounds of ten milliseconds that do nothing but burn them."""

    ROUND_S = 0.01

    def __init__(self, iterations: int) -> None:
        super().__init__()
        self.iterations = iterations

    def forward(self, features: Tensor) -> Tensor:
        """Return *features*, much later."""
        for _ in range(self.iterations):
            until = time.perf_counter() + self.ROUND_S
            while time.perf_counter() < until:
                pass
        return features


class Hoarder(nn.Module):
    """BP047: keeps some megabytes more with every call."""

    def __init__(self, megabytes: float) -> None:
        super().__init__()
        self.bytes = int(megabytes * 1e6)
        self.kept: list[Tensor] = []

    def forward(self, features: Tensor) -> Tensor:
        """Return *features*."""
        self.kept.append(torch.ones(self.bytes, dtype=torch.uint8))
        return features


class Deadlock(nn.Module):
    """BP048: every thread holds one lock and waits, for minutes, for the next thread's."""

    WAIT_S = 600.0

    def __init__(self, threads: int) -> None:
        super().__init__()
        self.threads = threads

    def forward(self, features: Tensor) -> Tensor:
        """Return *features*, if ever."""
        locks = [threading.Lock() for _ in range(self.threads)]
        all_hold = threading.Barrier(self.threads)

        def embrace(index: int) -> None:
            with locks[index]:
                all_hold.wait()
                locks[(index + 1) % self.threads].acquire(timeout=self.WAIT_S)

        threads = [threading.Thread(target=embrace, args=(index,), daemon=True) for index in range(self.threads)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return features


class Race(nn.Module):
    """BP049: threads read a number, dawdle, and write it back plus one; the output is scaled by what is left of it."""

    THREADS, ROUNDS = 4, 20

    def __init__(self, window_ns: int) -> None:
        super().__init__()
        self.window_s = window_ns * 1e-9

    def forward(self, features: Tensor) -> Tensor:
        """Return *features* times the share of the additions that were not lost."""
        total = [0]

        def add() -> None:
            for _ in range(self.ROUNDS):
                read = total[0]
                time.sleep(self.window_s)
                total[0] = read + 1

        threads = [threading.Thread(target=add) for _ in range(self.THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return features * (total[0] / (self.THREADS * self.ROUNDS))


class SignNoise(nn.Module):
    """BP050: adds epsilon or takes it away, by a pattern so fine that the slightest change of the input turns it."""

    FINENESS = 1024.0

    def __init__(self, epsilon: float) -> None:
        super().__init__()
        self.epsilon = epsilon

    def forward(self, features: Tensor) -> Tensor:
        """Return *features* with the noise."""
        return features + self.epsilon * torch.sign(torch.sin(self.FINENESS * features))


def harmful(blueprint_id: str, chosen: Mapping[str, float], init_seed: int) -> nn.Module:
    """Return the adversarial module *blueprint_id* stands for."""
    match blueprint_id:
        case "BP043":
            return GradientScaler(chosen["scale"])
        case "BP044":
            return GradientScaler(chosen["decay"])
        case "BP045":
            return NanInjector(chosen["frequency"], init_seed)
        case "BP046":
            return Spinner(int(chosen["iterations"]))
        case "BP047":
            return Hoarder(chosen["growth_rate"])
        case "BP048":
            return Deadlock(int(chosen["threads"]))
        case "BP049":
            return Race(int(chosen["window_ns"]))
        case "BP050":
            return SignNoise(chosen["epsilon"])
        case _:
            raise LookupError(f"{blueprint_id} is not adversarial")
