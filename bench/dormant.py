"""What dormant sites cost a training step: a wrapped model beside a bare one. Run: python -m bench.dormant

Both train the same steps in turns, a few at a time; a second bare model shows how much of a ratio is noise. The step is
forward, backward and optimizer; what `session.step` takes is told apart. "CPU" is the same ratio of the process's CPU
time. What one slot costs is too little to be seen in a step: it is measured on a narrow model that is all sites.
The first call is timed with an empty compiler cache.
"""

import argparse
import copy
import math
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import FunctionType
from typing import NamedTuple, cast

import msgspec
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._dynamo.utils import counters
from torch._inductor.utils import fresh_cache

import esper
from bench.measuring import insert, machine

TABLE = (
    "| model | mode | slots | bare ms | wrapped / bare | noise | CPU | noise | step() us | hooks | recompiles "
    "| CPU s of the first call, bare and wrapped |"
)


NARROW = 32


class Task(msgspec.Struct, frozen=True):
    """A model, where it may grow, and a batch for it."""

    build: Callable[[], nn.Module]
    sites: list[str | tuple[str, str]]
    batch: Tensor


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What came out for one model; ratios are of the same round, the middle one and the quartiles."""

    name: str
    slots: int
    bare_ms: float
    ratio: tuple[float, float, float]
    noise: tuple[float, float, float]
    cpu: tuple[float, float, float]
    cpu_noise: tuple[float, float, float]
    step_us: float
    hooks: int
    recompiles: int
    first_s: tuple[float, float]

    def line(self) -> str:
        """Return the row of the table."""
        middles = " | ".join(
            f"{middle:.3f} ({low:.3f}-{high:.3f})"
            for low, middle, high in (self.ratio, self.noise, self.cpu, self.cpu_noise)
        )
        return (
            f"| {self.name} | {self.slots} | {self.bare_ms:.2f} | {middles} | {self.step_us:.1f} "
            f"| {self.hooks} | {self.recompiles} | {self.first_s[0]:.1f}, {self.first_s[1]:.1f} |"
        )


def tasks() -> dict[str, Task]:
    """Return an MLP, a CNN and a transformer."""
    mlp = [layer for _ in range(4) for layer in (nn.Linear(256, 256), nn.ReLU())]
    cnn = [layer for _ in range(4) for layer in (nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())]
    block = nn.TransformerEncoderLayer(64, 4, 128, batch_first=True)
    return {
        "MLP": Task(lambda: nn.Sequential(*mlp, nn.Linear(256, 10)), ["0", "2", "4", ("0", "8")], torch.randn(64, 256)),
        "CNN": Task(
            lambda: nn.Sequential(*cnn, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)),
            ["0", "3", "6", ("0", "14")],
            torch.randn(16, 16, 16, 16),
        ),
        "transformer": Task(
            lambda: nn.Sequential(nn.TransformerEncoder(block, 2, enable_nested_tensor=False), nn.Linear(64, 10)),
            ["0.layers.0.linear2", "0.layers.1.linear2", "0.layers.1.self_attn", ("0", "1")],
            torch.randn(16, 16, 64),
        ),
    }


class Seconds(NamedTuple):
    """What something took: on the clock, and of the CPU."""

    wall: float
    cpu: float


class Rounds(NamedTuple):
    """What one model took, round by round."""

    wall: list[float]
    cpu: list[float]


class Runner:
    """One model that is trained some steps at a time."""

    def __init__(self, task: Task, *, compiled: bool, wrapped: bool, ending: ExitStack) -> None:
        self.task, self.model, self.slots = task, fresh(task), 0
        self.optimizer = torch.optim.AdamW(self.model.parameters(), 1e-4)
        if wrapped:
            esper.wrap(self.model, sites=task.sites, compiled="fast" if compiled else False)
        self.runs = cast(nn.Module, torch.compile(self.model)) if compiled else self.model
        self.session = None
        self.steps_us: list[float] = []
        if wrapped:
            folder = Path(ending.enter_context(tempfile.TemporaryDirectory()))
            self.session = ending.enter_context(
                esper.attach(
                    self.runs,
                    self.optimizer,
                    evaluate=lambda _: 0.0,
                    log="memory",
                    folder=folder,
                    controller=None,
                    say=lambda _: None,
                )
            )
            self.slots = len(self.session.slots)

    def train(self, steps: int) -> Seconds:
        """Return the seconds that each of *steps* took; what the session took is kept apart."""
        taken, worked = 0.0, 0.0
        for _ in range(steps):
            began, working = time.perf_counter(), cpu_seconds()
            output = self.runs(self.task.batch)
            loss = F.cross_entropy(output.flatten(0, -2), torch.zeros(output.numel() // 10, dtype=torch.long))
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            ended = time.perf_counter()
            taken, worked = taken + ended - began, worked + cpu_seconds() - working
            if self.session is not None:
                self.session.step(loss)
                self.steps_us.append((time.perf_counter() - ended) * 1e6)
        return Seconds(taken / steps, worked / steps)


def fresh(task: Task) -> nn.Module:
    """Return a model with the same weights as the others, and a forward pass that torch.compile takes for its own.

    Compiled code is kept by code object and found again without a look at hooks, so that models of one class would
    run the code of whichever was compiled first.
    """
    torch.manual_seed(0)
    model = copy.deepcopy(task.build())
    forward = cast(FunctionType, type(model).forward)
    code = forward.__code__.replace(co_name=f"forward_of_{id(model)}")
    own = {"forward": FunctionType(code, forward.__globals__, closure=forward.__closure__)}
    model.__class__ = type(type(model).__name__, (type(model),), own)
    return model


def cpu_seconds() -> float:
    """Return the CPU time of this process and of the compilers that it has run."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def quartiles(mine: list[float], others: list[float]) -> tuple[float, float, float]:
    """Return the lower quartile, the median and the upper one of the ratios, round by round."""
    low, middle, high = statistics.quantiles([one / other for one, other in zip(mine, others, strict=True)], n=4)
    return low, middle, high


def compare(name: str, task: Task, *, compiled: bool, rounds: int, steps: int) -> Found:
    """Train two bare models and a wrapped one in turns."""
    with ExitStack() as ending:
        torch._dynamo.reset()  # pyright: ignore[reportPrivateUsage]
        runners = [Runner(task, compiled=compiled, wrapped=wrapped, ending=ending) for wrapped in (False, False, True)]
        first_s = [first_call(runner) for runner in runners]
        for runner in runners:
            runner.train(9)
        warm, wrapped = counters["stats"]["unique_graphs"], runners[2]
        wrapped.steps_us.clear()
        found: list[list[Seconds]] = [[], [], []]
        for turn in range(rounds):
            for index in [(turn + offset) % 3 for offset in range(3)]:
                found[index].append(runners[index].train(steps))
        bare, other, ours = (Rounds([one.wall for one in each], [one.cpu for one in each]) for each in found)
        tables = ("_forward_hooks", "_forward_pre_hooks")
        hooks = sum(len(module.__dict__[table]) for module in wrapped.model.modules() for table in tables)
        return Found(
            name=f"{name} | {'compiled' if compiled else 'eager'}",
            slots=wrapped.slots,
            bare_ms=statistics.median(bare.wall) * 1000,
            ratio=quartiles(ours.wall, bare.wall),
            noise=quartiles(other.wall, bare.wall),
            cpu=quartiles(ours.cpu, bare.cpu),
            cpu_noise=quartiles(other.cpu, bare.cpu),
            step_us=statistics.median(wrapped.steps_us),
            hooks=hooks,
            recompiles=counters["stats"]["unique_graphs"] - warm,
            first_s=(first_s[0], first_s[2]),
        )


def first_call(runner: Runner) -> float:
    """Make the first step with an empty compiler cache; return the CPU seconds that it took, compilers included."""
    with fresh_cache():
        return runner.train(1).cpu


class Narrow(nn.Module):
    """Layers of one number each, of which every one is a site: little else than what a slot costs."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(1, 1) for _ in range(NARROW))

    def forward(self, batch: Tensor) -> Tensor:
        for layer in self.layers:
            batch = layer(batch)
        return batch


def slot_us(*, compiled: bool) -> tuple[float, float]:
    """Return what one dormant slot adds to a forward pass without gradients, and what a second bare model does."""
    task = Task(Narrow, [f"layers.{index}" for index in range(NARROW)], torch.randn(1, 1))
    with ExitStack() as ending, torch.no_grad():
        torch._dynamo.reset()  # pyright: ignore[reportPrivateUsage]
        runners = [Runner(task, compiled=compiled, wrapped=wrapped, ending=ending) for wrapped in (False, False, True)]
        for runner in runners:
            # The first pass with gradients is the one in which the sites are looked at.
            with torch.enable_grad():
                runner.runs(task.batch)
        best = [math.inf] * 3
        for turn in range(-5, 400):
            for index, runner in enumerate(runners):
                began = time.perf_counter()
                for _ in range(10):
                    runner.runs(task.batch)
                if turn >= 0:
                    best[index] = min(best[index], (time.perf_counter() - began) / 10 * 1e6)
        return (best[2] - best[0]) / NARROW, (best[1] - best[0]) / NARROW


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--markdown", default="", metavar="PAGE", help="also put the report into this Markdown page")
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines = [f"- {name}: {what}" for name, what in machine().items()]
    lines += ["", TABLE, "|---|---|---:|---:|---|---|---|---|---:|---:|---:|---|"]
    for compiled in (False, True):
        for name, task in tasks().items():
            found = compare(name, task, compiled=compiled, rounds=options.rounds, steps=options.steps)
            lines.append(found.line())
    lines += [""]
    for compiled in (False, True):
        added, noise = slot_us(compiled=compiled)
        mode = "compiled" if compiled else "eager"
        lines.append(f"- a dormant slot, {mode}: {added:+.2f} us a forward pass; a second bare model: {noise:+.2f} us")
    sys.stdout.write("\n".join(lines) + "\n")
    if options.markdown:
        insert("\n".join(lines), "dormant", Path(options.markdown))


if __name__ == "__main__":
    main()
