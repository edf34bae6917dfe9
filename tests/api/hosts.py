"""Small hosts on real data (scikit-learn's digits) for the session's tests."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]
from torch import Tensor, nn

TRAINING_IMAGES = 1400


class Digits(NamedTuple):
    """1,797 images of 8x8 pixels in 0..1 and their digits, split by order."""

    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor

    def batches(self, size: int = 32) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the training images in an order drawn from torch's global generator."""
        for rows in torch.randperm(len(self.train_x)).split(size):
            yield self.train_x[rows], self.train_y[rows]

    def score(self, model: nn.Module) -> dict[str, float]:
        """Return held-out accuracy as "score", and the loss."""
        model.eval()
        with torch.no_grad():
            logits = model(self.test_x)
        right = (logits.argmax(1) == self.test_y).double().mean()
        return {"score": float(right), "loss": float(F.cross_entropy(logits, self.test_y))}


def digits() -> Digits:
    """Load the digits."""
    loaded = load_digits()
    pixels = torch.tensor(loaded.data / 16, dtype=torch.float32)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownArgumentType]
    labels = torch.tensor(loaded.target)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownArgumentType]
    cut = TRAINING_IMAGES
    return Digits(pixels[:cut], labels[:cut], pixels[cut:], labels[cut:])


def narrow(width: int = 3) -> nn.Sequential:
    """A host whose bottleneck starves it when *width* is small."""
    return nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))


def noisy() -> nn.Sequential:
    """A host that draws random numbers and keeps running statistics while it trains."""
    return nn.Sequential(
        nn.Linear(64, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.3), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 10)
    )


def train_step(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> Tensor:
    """One ordinary step with gradient clipping; returns the loss."""
    loss = F.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss
