"""Going back: the state of a model with Adam put back from memory and from blobs, beside torch.save and torch.load.

`python -m bench.rollback` prints milliseconds per million parameters, interleaved in one process; exit code 1 if the
fast tier takes more than 5.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

import esper
from bench.measuring import machine
from esper.api.settings import RollbackLimits
from esper.tolaria.checkpoint import capture, read, write
from esper.tolaria.snapshot import Snapshot, from_parts, put_back, take
from eventstore.blobs import FolderBlobs

ALLOWED_MS_PER_MILLION = 5.0
MILLION = 1e6


class Host:
    """A trained multi-layer perceptron, and every way to keep its state and to bring it back."""

    def __init__(self, width: int, folder: Path) -> None:
        self.model = nn.Sequential(nn.Linear(256, width), nn.ReLU(), nn.Linear(width, width), nn.Linear(width, 10))
        self.optimizer = torch.optim.AdamW(self.model.parameters(), 1e-3)
        self.file, self.blobs = folder / "state.pt", FolderBlobs(folder)
        for _ in range(2):
            loss = F.cross_entropy(self.model(torch.randn(8, 256)), torch.arange(8))
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        self.snapshot, self.manifest = self.copied(), self.written()
        self.saved()

    @property
    def parameters(self) -> int:
        """How many parameters the model has."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    def copied(self) -> Snapshot:
        """Keep the state in memory."""
        return take(self.model, self.optimizer, {}, {}, None)

    def from_memory(self) -> None:
        """Fast tier: put the copy back."""
        put_back(self.snapshot, self.model, self.optimizer, {}, steady=False)

    def written(self) -> str:
        """Keep the state as a checkpoint's blobs."""
        return write(capture(self.model, self.optimizer, {}, {}), self.blobs.put)[0]

    def from_blobs(self) -> None:
        """Full tier: read the blobs, verify every byte, and put them back."""
        snapshot = from_parts(read(self.manifest, self.blobs.get), None)
        put_back(snapshot, self.model, self.optimizer, {}, steady=False)

    def saved(self) -> None:
        """The peer: torch.save."""
        torch.save({"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}, self.file)

    def from_file(self) -> None:
        """The peer: torch.load of what torch.save wrote, and both `load_state_dict`."""
        state: dict[str, Any] = torch.load(self.file, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])


def timed(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Return the seconds that each of *ways* took in every round; the first round warms up and does not count."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, way in ways.items():
            began = perf_counter()
            way()
            if turn:
                found[name].append(perf_counter() - began)
    return found


def whole(width: int, folder: Path, snapshots: int, rounds: int) -> list[float]:
    """Return the seconds of `session.rollback`, from the call to its return, on a log in memory."""
    host = Host(width, folder)
    model = esper.wrap(host.model, sites=["0"])
    data = torch.randn(8, 256)
    settings = esper.GrowthSettings(rollback=RollbackLimits(snapshots=snapshots, snapshots_mib=4096.0))
    took: list[float] = []
    with esper.attach(
        model,
        host.optimizer,
        evaluate=lambda _: 0.5,
        log="memory",
        folder=folder / "esper",
        controller=None,
        settings=settings,
        say=lambda _: None,
    ) as session:
        for _ in range(rounds):
            loss = F.cross_entropy(model(data), torch.arange(8))
            session.step(loss)
            began = perf_counter()
            session.rollback()
            took.append(perf_counter() - began)
    return took


def main() -> int:
    """Print what every way costs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--widths", type=int, nargs="+", default=[850, 3000])
    options = parser.parse_args()
    lines = [f"{name}: {what}" for name, what in machine().items()]
    lines += ["", "| parameters | what | median ms | worst ms | ms per million |", "|---:|---|---:|---:|---:|"]
    slowest = 0.0
    for width in options.widths:
        with tempfile.TemporaryDirectory() as folder:
            host = Host(width, Path(folder))
            ways: dict[str, Callable[[], object]] = {
                "copy into memory": host.copied,
                "back from memory (fast tier)": host.from_memory,
                "write blobs": host.written,
                "back from blobs (full tier)": host.from_blobs,
                "torch.save": host.saved,
                "torch.load and load_state_dict": host.from_file,
            }
            found = timed(ways, options.rounds)
            found["session.rollback, fast"] = whole(width, Path(folder) / "fast", 5, options.rounds)
            found["session.rollback, full"] = whole(width, Path(folder) / "full", 0, options.rounds)
        for name, seconds in found.items():
            median, worst = statistics.median(seconds) * 1e3, max(seconds) * 1e3
            each = median * MILLION / host.parameters
            lines.append(f"| {host.parameters:,} | {name} | {median:.2f} | {worst:.2f} | {each:.2f} |")
        fast = statistics.median(found["back from memory (fast tier)"])
        slowest = max(slowest, fast * 1e3 * MILLION / host.parameters)
        pairs = zip(found["back from memory (fast tier)"], found["torch.load and load_state_dict"], strict=True)
        ratio = statistics.median(peer / ours for ours, peer in pairs)
        pairs = zip(found["back from blobs (full tier)"], found["torch.load and load_state_dict"], strict=True)
        full = statistics.median(peer / ours for ours, peer in pairs)
        lines.append(f"| {host.parameters:,} | torch.load over fast: {ratio:.1f}x, over full: {full:.2f}x | | | |")
    holds = slowest <= ALLOWED_MS_PER_MILLION
    lines += ["", f"fast tier: {slowest:.2f} ms per million, {ALLOWED_MS_PER_MILLION:g} allowed: {holds}"]
    sys.stdout.write("\n".join(lines) + "\n")
    return int(not holds)


if __name__ == "__main__":
    raise SystemExit(main())
