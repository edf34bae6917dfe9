"""What is trained: a task's data, its host in any width, and how it is scored."""

import math
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import msgspec
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.growing import data
from bench.growing.data import CONTEXT, Data, Part

# Dimensions: B batch, T characters, D channels, H heads, E channels of a head.

SCORED_AT_ONCE = 2_048


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """One learning problem. *start* is the width that grows; *widths* are those of the static nets of the sweep."""

    name: str
    load: Callable[[], Data]
    host: Callable[[int], nn.Module]
    epochs: int
    batch: int
    rates: tuple[float, ...]
    widths: tuple[int, ...]
    start: int = 8
    steps_per_epoch: int | None = None
    sites: str = "auto"
    # Accuracy in per cent where False, bits per character where True.
    bits: bool = False
    # Other arms than the grown and the static ones; gromo's, too, where they are asked for.
    others: tuple[str, ...] = ()
    classes: int = 0

    def batches(self, train: Part) -> Iterator[Tensor]:
        """Yield the indices of one epoch's batches, drawn from torch's global generator."""
        order = torch.randperm(len(train.inputs)).split(self.batch)
        yield from order[: self.steps_per_epoch]

    def steps(self, train: Part, epochs: int) -> int:
        """Return how many optimizer steps *epochs* make."""
        return epochs * (self.steps_per_epoch or math.ceil(len(train.inputs) / self.batch))


def loss_of(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Return the mean cross-entropy."""
    return F.cross_entropy(model(inputs).flatten(0, -2), targets.flatten())


@torch.no_grad()
def scores(model: nn.Module, part: Part) -> tuple[float, float]:
    """Return accuracy and mean cross-entropy."""
    right, total = 0, 0.0
    for inputs, targets in zip(part.inputs.split(SCORED_AT_ONCE), part.targets.split(SCORED_AT_ONCE), strict=True):
        logits, wanted = model(inputs).flatten(0, -2), targets.flatten()
        right += int((logits.argmax(1) == wanted).sum())
        total += float(F.cross_entropy(logits, wanted, reduction="sum"))
    return right / part.targets.numel(), total / part.targets.numel()


def perceptron(width: int, *, inputs: int, classes: int) -> nn.Sequential:
    """Return a network of two hidden layers."""
    return nn.Sequential(
        nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, classes)
    )


class Convolutional(nn.Sequential):
    """Two strided convolutions of *width* channels with BatchNorm, over images that come as vectors."""

    def __init__(self, width: int) -> None:
        super().__init__(
            nn.Unflatten(1, (1, 28, 28)),
            *(nn.Conv2d(1, width, 3, stride=2, padding=1), nn.BatchNorm2d(width), nn.ReLU()),
            *(nn.Conv2d(width, width, 3, stride=2, padding=1), nn.BatchNorm2d(width), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(49 * width, 10)),
        )


class Recurrent(nn.Module):
    """An LSTM of *width* units that reads an image row by row, and a linear layer on its last output."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(28, width, batch_first=True), nn.Linear(width, 10)

    def forward(self, pixels_ND: Tensor) -> Tensor:
        """Return the logits."""
        read_NTD, _ = self.lstm(pixels_ND.unflatten(1, (28, 28)))
        return self.head(read_NTD[:, -1])


class Attention(nn.Module):
    """Causal self-attention."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Let each position look at those before it."""
        parts = self.qkv(x_BTD).unflatten(-1, (3, self.heads, -1))
        q_BHTE, k_BHTE, v_BHTE = parts.permute(2, 0, 3, 1, 4)
        seen_BHTE = F.scaled_dot_product_attention(q_BHTE, k_BHTE, v_BHTE, is_causal=True)
        return self.out(seen_BHTE.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """One pre-norm transformer block whose feed-forward part has *width* hidden units."""

    def __init__(self, channels: int, heads: int, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.attention = Attention(channels, heads)
        self.mlp = nn.Sequential(nn.Linear(channels, width), nn.GELU(), nn.Linear(width, channels))

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Add attention's and the feed-forward part's output to what came in."""
        x_BTD = x_BTD + self.attention(self.norm1(x_BTD))
        return x_BTD + self.mlp(self.norm2(x_BTD))


class CharacterModel(nn.Module):
    """A small GPT over characters: two blocks of 32 channels, feed-forward parts of *width* hidden units."""

    def __init__(self, width: int, signs: int = 73, channels: int = 32) -> None:
        super().__init__()
        self.signs, self.places = nn.Embedding(signs, channels), nn.Embedding(CONTEXT, channels)
        self.blocks = nn.ModuleList(Block(channels, 4, width) for _ in range(2))
        self.norm, self.head = nn.LayerNorm(channels), nn.Linear(channels, signs)

    def forward(self, codes_BT: Tensor) -> Tensor:
        """Return the logits of each next character."""
        x_BTD = self.signs(codes_BT) + self.places.weight[: codes_BT.shape[1]]
        for block in self.blocks:
            x_BTD = block(x_BTD)
        return self.head(self.norm(x_BTD))


def _vectors(name: str, load: Callable[[], Data], inputs: int, classes: int, **how: object) -> Task:
    host = partial(perceptron, inputs=inputs, classes=classes)
    return Task(
        name=name, load=load, host=host, others=("widened", "gromo TINY", "gromo GradMax"), classes=classes, **how
    )


def _images(name: str, host: Callable[[int], nn.Module], start: int) -> Task:
    load = partial(data.fashion, 10_000)
    widths = (start, 4 * start)
    return Task(name=name, load=load, host=host, epochs=16, batch=128, rates=(5e-3, 1e-2), widths=widths, start=start)


def tasks(letters: Path) -> dict[str, Task]:
    """Return the tasks by name: the four of the bench, and two hosts of other kinds."""
    rates, widths = (3e-3, 1e-2, 2e-2, 4e-2), (8, 16, 32, 64, 128)
    listed = (
        _vectors("digits", data.digits, 64, 10, epochs=30, batch=32, rates=rates, widths=widths),
        _vectors("letters", partial(data.letters, letters), 16, 26, epochs=24, batch=128, rates=rates, widths=widths),
        _vectors("fashion", data.fashion, 784, 10, epochs=16, batch=128, rates=(3e-3, 1e-2), widths=widths[:4]),
        Task(
            name="scripture",
            load=data.scripture,
            host=CharacterModel,
            epochs=16,
            batch=16,
            rates=(5e-3, 1e-2),
            widths=(8, 32, 128),
            steps_per_epoch=80,
            bits=True,
            others=("widened",),
        ),
        _images("convolutional", Convolutional, 4),
        _images("recurrent", Recurrent, 8),
    )
    return {task.name: task for task in listed}
