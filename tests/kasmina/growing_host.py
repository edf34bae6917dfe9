"""A small host and small seeds, trained on scikit-learn's digits (real images, 8 x 8)."""

from collections.abc import Callable, Iterator
from functools import cache

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

from esper.kasmina.slot import Slot
from esper.leyline.v1.enums_pb2 import BLEND_MODE_RESIDUAL, BlendMode
from esper.leyline.v1.site_pb2 import Site

BLOCK = Site(seed_id="s0", label="conv", exit_module="conv")
HEAD = Site(seed_id="s2", label="head", exit_module="head")
SPAN = Site(seed_id="s1", label="conv -> head", entry_module="conv", exit_module="head")


class Host(nn.Module):
    """Everything that a careless graft would disturb: BatchNorm, dropout, an in-place activation."""

    def __init__(self, channels: int = 4) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(channels)
        self.act = nn.ReLU(inplace=True)
        self.drop = nn.Dropout(0.2)
        self.pool = nn.AvgPool2d(2)
        self.head = nn.Linear(channels * 16, 10)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.pool(self.drop(self.act(self.norm(self.conv(images))))).flatten(1))


class ImageSeed(nn.Module):
    """Shape-preserving residual seed with dropout of its own; zero at birth."""

    def __init__(self, channels: int = 4) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.drop = nn.Dropout(0.3)
        self.gain = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, features: Tensor) -> Tensor:
        return self.drop(F.silu(self.conv(features))) * self.gain


class SpanSeed(nn.Module):
    """From the image to the logits, with dropout of its own; zero at birth."""

    def __init__(self, hidden: int = 32) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Flatten(), nn.Linear(64, hidden), nn.ReLU(), nn.Dropout(0.3))
        self.outer = nn.Linear(hidden, 10)
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)

    def forward(self, image: Tensor) -> Tensor:
        return self.outer(self.inner(image))


@cache
def _bunch() -> tuple[Tensor, Tensor]:
    bunch = load_digits()
    return torch.tensor(bunch.images, dtype=torch.float32)[:, None] / 16.0, torch.tensor(bunch.target)


def digits(count: int | None = None) -> tuple[Tensor, Tensor]:
    """The first *count* images, scaled to [0, 1], and what they show."""
    images, labels = _bunch()
    return images[:count], labels[:count]


def batches(size: int = 32) -> Iterator[tuple[Tensor, Tensor]]:
    """The training images, over and over, in one fixed order."""
    images, labels = digits(1437)
    while True:
        yield from zip(images.split(size)[:-1], labels.split(size)[:-1], strict=True)


def train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    steps: int,
    *,
    slots: tuple[Slot, ...] = (),
    since: int = 0,
    seen: Callable[[Tensor], None] | None = None,
    data: Iterator[tuple[Tensor, Tensor]] | None = None,
) -> None:
    """The user's own loop: clipping over `model.parameters()`, and one call per slot after the optimizer step."""
    source = data or batches()
    for done in range(since, since + steps):
        images, labels = next(source)
        output = model(images)
        if seen is not None:
            seen(output)
        optimizer.zero_grad()
        F.cross_entropy(output, labels).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        for slot in slots:
            slot.step(done + 1)


def observed(model: nn.Module, site: Site) -> Slot:
    """A slot whose site was watched for two batches, without the host being trained."""
    slot = Slot(site, model)
    slot.open_window()
    source = batches()
    for _ in range(2):
        images, labels = next(source)
        F.cross_entropy(model(images), labels).backward()
    model.zero_grad()
    slot.close_window()
    return slot


def planted(model: nn.Module, site: Site, module: nn.Module, mode: BlendMode = BLEND_MODE_RESIDUAL) -> Slot:
    """A slot in which *module* has just begun to learn."""
    slot = observed(model, site)
    slot.plant(module, mode=mode, learning_rate=lambda: 1e-2, init_seed=7)
    return slot


def weights(model: nn.Module) -> list[Tensor]:
    """Copies of all weights and buffers."""
    return [value.clone() for value in model.state_dict().values()]


def same(left: list[Tensor], right: list[Tensor]) -> bool:
    """Tell whether two lists of tensors hold the same bits."""
    return len(left) == len(right) and all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


def hooks(model: nn.Module) -> int:
    """Count the forward hooks on all modules."""
    tables = ("_forward_hooks", "_forward_pre_hooks")
    return sum(len(module.__dict__[table]) for module in model.modules() for table in tables)
