"""What the isolation check costs an epoch while a seed learns beside its host. Run: python -m bench.isolation

Epochs over scikit-learn's digits in batches of 32, with the check and without it in turns, by the CPU time of the
training thread. An epoch's check is one walk of the seed's autograd graph, and one comparison of all weights, buffers
and gradients of the host before and after the seed's code; both are also timed by themselves.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

from bench.measuring import insert, machine
from esper.karn.builders import build
from esper.kasmina.isolation import strangers
from esper.kasmina.slot import Slot
from esper.kasmina.witness import Witness
from esper.leyline.v1.enums_pb2 import BLEND_MODE_RESIDUAL
from esper.leyline.v1.site_pb2 import Site

TABLE = "| host | tensors | parameters | epoch ms | checked / unchecked | check ms | of an epoch |"
BATCH = 32


class Case(msgspec.Struct, frozen=True):
    """A host, where its seed sits, and how it wants an image of 64 pixels."""

    build: Callable[[], nn.Module]
    site: Site
    shape: tuple[int, ...]
    blueprint: str


def cases() -> dict[str, Case]:
    """Return an MLP, a CNN and a transformer."""
    mlp = [layer for width in (64, 128, 128) for layer in (nn.Linear(width, 128), nn.ReLU())]
    cnn = [
        layer for width in (1, 16, 16) for layer in (nn.Conv2d(width, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
    ]
    block = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
    return {
        "MLP": Case(lambda: nn.Sequential(*mlp, nn.Linear(128, 10)), _at("2"), (64,), "BP002"),
        "CNN": Case(
            lambda: nn.Sequential(*cnn, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, 10)),
            _at("3"),
            (1, 8, 8),
            "BP-PROJ-LoRA-64",
        ),
        "transformer": Case(
            lambda: nn.Sequential(
                nn.Linear(8, 32),
                nn.TransformerEncoder(block, 3, enable_nested_tensor=False),
                nn.Flatten(),
                nn.Linear(256, 10),
            ),
            _at("1.layers.1"),
            (8, 8),
            "BP-PROJ-LoRA-64",
        ),
    }


def _at(name: str) -> Site:
    return Site(seed_id="s0", label=name, exit_module=name)


class Runner:
    """A host in training, with a seed that learns."""

    def __init__(self, case: Case) -> None:
        torch.manual_seed(0)
        self.case, self.model, self.steps = case, case.build(), 0
        self.optimizer = torch.optim.AdamW(self.model.parameters(), 1e-3)
        bunch = load_digits()
        self.images = torch.tensor(bunch.data / 16, dtype=torch.float32).view(-1, *case.shape)
        self.labels = torch.tensor(bunch.target)
        self.slot = Slot(case.site, self.model)
        self.slot.open_window()
        self.step(*self.batches()[0])
        self.slot.close_window()
        assert self.slot.shape is not None
        seed = build(case.blueprint, {}, self.slot.shape, 7)
        self.slot.plant(seed, mode=BLEND_MODE_RESIDUAL, learning_rate=None, init_seed=7)
        self.planted = self.slot._planted

    def batches(self) -> list[tuple[Tensor, Tensor]]:
        """Return the epoch's batches."""
        return list(zip(self.images.split(BATCH), self.labels.split(BATCH), strict=True))

    def step(self, images: Tensor, labels: Tensor) -> None:
        """Do one step of training."""
        self.optimizer.zero_grad()
        F.cross_entropy(self.model(images), labels).backward()
        self.optimizer.step()
        self.steps += 1
        self.slot.step(self.steps)

    def epoch(self, *, checked: bool) -> float:
        """Return the seconds of work of one epoch."""
        batches = self.batches()
        began = time.thread_time()
        self.slot.new_epoch()
        self.planted.facts.proof_due = self.planted.facts.witness_due = checked
        for images, labels in batches:
            self.step(images, labels)
        taken = time.thread_time() - began
        assert self.planted.facts.witness_due is False
        assert self.slot.failed == ""
        return taken

    def check(self) -> float:
        """Return the seconds of work of one check."""
        entry = torch.randn(BATCH, *self.slot.shape.input_size)
        loss = self.slot.module(entry).sum()
        began = time.thread_time()
        found = Witness(self.model).changed(), strangers(loss, self.planted.seed.parameters)
        taken = time.thread_time() - began
        assert found == ((), [])
        return taken


def line(name: str, case: Case, rounds: int) -> str:
    """Return the row of one host."""
    runner = Runner(case)
    runner.epoch(checked=True)
    ratios, epochs = list[float](), list[float]()
    for turn in range(rounds):
        pair = {checked: runner.epoch(checked=checked) for checked in ((True, False) if turn % 2 else (False, True))}
        ratios.append(pair[True] / pair[False])
        epochs.append(pair[False])
    check, epoch = statistics.median(runner.check() for _ in range(rounds)), statistics.median(epochs)
    low, middle, high = statistics.quantiles(ratios, n=4)
    parameters = list(runner.model.parameters())
    tensors = 2 * len(parameters) + len(list(runner.model.buffers()))
    return (
        f"| {name} | {tensors} | {sum(own.numel() for own in parameters):,} | {epoch * 1e3:.0f} "
        f"| {middle:.3f} ({low:.3f}-{high:.3f}) | {check * 1e3:.2f} | {check / epoch:.2%} |"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--markdown", default="", metavar="PAGE", help="also put the report into this Markdown page")
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines = [f"- {name}: {what}" for name, what in machine().items()]
    lines += ["", TABLE, "|---|---:|---:|---:|---|---:|---:|"]
    lines += [line(name, case, options.rounds) for name, case in cases().items()]
    sys.stdout.write("\n".join(lines) + "\n")
    if options.markdown:
        insert("\n".join(lines), "isolation", Path(options.markdown))


if __name__ == "__main__":
    main()
