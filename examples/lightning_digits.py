"""Grow a narrow network under Lightning's Trainer, on scikit-learn's digits (1,797 real images).

pip install 'esper-growth[local,demo,lightning]'
python examples/lightning_digits.py
python examples/lightning_digits.py --resume        # after an interruption
"""

import argparse
from typing import Any

import torch
import torch.nn.functional as F
from pytorch_lightning import LightningModule, Trainer
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import esper
from esper.api.callbacks.lightning import Growth

TRAIN, HELD_OUT = 1_200, 1_500


class Classifier(LightningModule):
    """Two layers, the first too narrow."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 3), nn.ReLU(), nn.Linear(3, 10))

    def training_step(self, batch: Any, index: int) -> Tensor:
        """Return the batch's loss."""
        return F.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimizer; what is kept of a seed joins it."""
        return torch.optim.AdamW(self.parameters(), lr=1e-2)


def part(first: int, end: int) -> tuple[Tensor, Tensor]:
    """Return some of the images and their digits."""
    found: Any = load_digits()
    return torch.tensor(found.data[first:end] / 16, dtype=torch.float32), torch.tensor(found.target[first:end])


def accuracy(model: nn.Module, first: int, end: int) -> float:
    """Return the share of digits that are named rightly."""
    pixels, labels = part(first, end)
    with torch.no_grad():
        return float((model.get_submodule("net")(pixels).argmax(1) == labels).double().mean())


def main() -> None:
    """Train, grow and report."""
    parser = argparse.ArgumentParser(description="Grow a narrow network under Lightning's Trainer.")
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--log", default="embedded", help="embedded, memory or nats://...")
    parser.add_argument("--folder", default=".esper")
    parser.add_argument("--resume", action="store_true")
    chosen = parser.parse_args()

    torch.set_num_threads(1)
    torch.manual_seed(0)
    module = esper.wrap(Classifier(), sites=[("net.0", "net.2")])
    before = sum(parameter.numel() for parameter in module.parameters())
    growth = Growth(
        evaluate=lambda model: accuracy(model, TRAIN, HELD_OUT),
        log=chosen.log,
        folder=chosen.folder,
        resume="latest" if chosen.resume else None,
    )
    trainer = Trainer(
        max_epochs=chosen.epochs, callbacks=[growth], accelerator="cpu", devices=1, logger=False,
        enable_checkpointing=False, enable_progress_bar=False,
    )  # fmt: skip
    trainer.fit(module, DataLoader(TensorDataset(*part(0, TRAIN)), batch_size=32, shuffle=True))
    after = sum(parameter.numel() for parameter in module.parameters())
    print(f"test accuracy {accuracy(module, HELD_OUT, 1_797):.2%}, parameters {before:,} -> {after:,}")


if __name__ == "__main__":
    main()
