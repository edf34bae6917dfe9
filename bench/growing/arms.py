"""The contestants: one training run each, from the same data in the same order under the same schedule."""

import math
import resource
import time
from bisect import bisect_left
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec
import torch
from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import CosineAnnealingLR

import esper
from bench.growing.data import Data
from bench.growing.tasks import Task, loss_of, scores
from bench.growing.widening import widen

WIDENINGS, WIDENED_BY, WIDENED_UNTIL = 6, 12, 0.6
WIDEST = 1_025
LN2 = math.log(2.0)


class Trial(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """What is run: an arm on a task, at a learning rate, from a random seed. *width* 0 is the task's start."""

    task: str
    arm: str
    rate: float
    seed: int
    epochs: int
    width: int = 0
    # Test data are looked at in the last runs only, never while a learning rate is chosen.
    tested: bool = False


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came out: scores in the task's unit, sizes, and CPU seconds, which exclude loading and scoring."""

    valid: float
    test: float | None
    parameters: int
    cpu_s: float
    growth_s: float = 0.0
    children_s: float = 0.0
    kept: int = 0
    germinated: int = 0
    grown_at: tuple[str, ...] = ()


class Stopwatch:
    """CPU seconds of this process, all its threads together."""

    def __init__(self) -> None:
        self.seconds = 0.0

    @contextmanager
    def running(self) -> Generator[None]:
        """Count what is done meanwhile."""
        began = time.process_time()
        try:
            yield
        finally:
            self.seconds += time.process_time() - began


class Grown(NamedTuple):
    """A trained model, and what growing took and gave."""

    model: nn.Module
    growth: Stopwatch
    kept: int = 0
    germinated: int = 0
    grown_at: tuple[str, ...] = ()


class Run(NamedTuple):
    """What an arm is given; *folder* is where Esper keeps kernels and the compiler its cache."""

    task: Task
    data: Data
    trial: Trial
    model: nn.Module
    folder: Path


def run(task: Task, data: Data, trial: Trial, folder: Path) -> Outcome:
    """Train once and score."""
    torch.manual_seed(trial.seed)
    model, whole = task.host(trial.width or task.start), Stopwatch()
    children = _children_s()
    with whole.running():
        grown = ARMS[trial.arm](Run(task, data, trial, model, folder))
    children = _children_s() - children
    grown.model.eval()
    return Outcome(
        valid=in_unit(task, *scores(grown.model, data.valid)),
        test=in_unit(task, *scores(grown.model, data.test)) if trial.tested else None,
        parameters=count(grown.model),
        cpu_s=whole.seconds,
        growth_s=grown.growth.seconds,
        children_s=children,
        kept=grown.kept,
        germinated=grown.germinated,
        grown_at=grown.grown_at,
    )


def in_unit(task: Task, accuracy: float, loss: float) -> float:
    """Return per cent of accuracy, or bits per character."""
    return loss / LN2 if task.bits else 100.0 * accuracy


def count(model: nn.Module) -> int:
    """Return how many parameters *model* has."""
    return sum(parameter.numel() for parameter in model.parameters())


def fitting_width(task: Task, parameters: int) -> int:
    """Return the width at which a static host of *task* has the number of parameters nearest to *parameters*."""

    def size(width: int) -> int:
        # A model that is only counted needs no memory.
        with torch.device("meta"):
            return count(task.host(width))

    least = bisect_left(range(1, WIDEST), parameters, key=size) + 1
    return min(range(max(1, least - 1), least + 1), key=lambda width: abs(size(width) - parameters))


def static(given: Run) -> Grown:
    """Train the host as it is."""
    _train(given, lambda epoch, optimizer: None)
    return Grown(given.model, Stopwatch())


def widened(given: Run) -> Grown:
    """Train the host and widen it at fixed epochs, evenly spread over the first part of the run."""
    growth, epochs = Stopwatch(), given.trial.epochs
    due = {max(1, round(epochs * WIDENED_UNTIL * (turn + 1) / WIDENINGS)) for turn in range(WIDENINGS)}

    def at_epoch(epoch: int, optimizer: AdamW) -> None:
        if epoch in due:
            with growth.running():
                widen(given.model, optimizer, WIDENED_BY)

    _train(given, at_epoch)
    return Grown(given.model, growth)


def _train(given: Run, at_epoch: Callable[[int, AdamW], None]) -> None:
    task, train, model = given.task, given.data.train, given.model
    optimizer, schedule = _optimizer(given)
    model.train()
    for epoch in range(given.trial.epochs):
        for chosen in task.batches(train):
            loss = loss_of(model, train.inputs[chosen], train.targets[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        at_epoch(epoch + 1, optimizer)


def grown(given: Run) -> Grown:
    """Train the host under Esper's controller, as it is shipped, which is told nothing of sizes."""
    task, data, trial, growth = given.task, given.data, given.trial, Stopwatch()

    def evaluate(asked: nn.Module) -> dict[str, float]:
        accuracy, loss = scores(asked, data.valid)
        return {"score": -loss if task.bits else accuracy, "loss": loss}

    optimizer, schedule = _optimizer(given)
    given.model.train()
    with growth.running():
        wrapped = esper.wrap(given.model, sites=task.sites)
        attached = esper.attach(
            wrapped,
            optimizer,
            evaluate=evaluate,
            log="memory",
            folder=given.folder,
            seed=trial.seed,
            stateful={"schedule": schedule},
            data=task.name,
            say=lambda line: None,
        )
    with attached as session:
        for _ in range(trial.epochs):
            for chosen in task.batches(data.train):
                loss = loss_of(wrapped, data.train.inputs[chosen], data.train.targets[chosen])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                with growth.running():
                    session.step(loss)
            with growth.running():
                session.end_epoch()
    summary = session.summary
    with growth.running():
        final = esper.unwrap(wrapped)
    kept = tuple(f"{seed.seed_id}:{seed.blueprint_id}" for seed in summary.kept)
    return Grown(final, growth, len(kept), summary.germinated, kept)


def _optimizer(given: Run) -> tuple[AdamW, CosineAnnealingLR]:
    optimizer = AdamW(given.model.parameters(), lr=given.trial.rate)
    return optimizer, CosineAnnealingLR(optimizer, given.task.steps(given.data.train, given.trial.epochs))


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


ARMS: dict[str, Callable[[Run], Grown]] = {"grown": grown, "static": static, "widened": widened}
