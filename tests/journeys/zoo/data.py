"""The zoo's data: scikit-learn's digits and the letters of this project's license."""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.journeys.zoo.host import Batch
from tests.kasmina.growing_host import digits

TEXT = Path(__file__).parents[3].joinpath("LICENSE").read_text()
LETTERS = sorted(set(TEXT))
CONTEXT = 24


def images() -> Batch:
    """Images of one channel, and the digits that they show."""
    pixels, labels = digits()
    return Batch((pixels,), labels)


def rows() -> Batch:
    """Images as sequences of eight rows."""
    pixels, labels = digits()
    return Batch((pixels[:, 0],), labels)


def columns() -> Batch:
    """Images as 64 columns of a table and one categorical column."""
    pixels, labels = digits()
    flat = pixels.flatten(1)
    return Batch((flat, (flat[:, 27] * 3).long()), labels)


def pairs() -> Batch:
    """Two images, and whether they show the same digit: as often as not."""
    pixels, labels = digits()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(1))
    alike = torch.arange(len(labels)) % 2 == 0
    others = [
        next(i for i in order.roll(-k).tolist() if bool(labels[i] == labels[k]) == bool(alike[k]))
        for k in range(len(labels))
    ]
    return Batch((pixels.flatten(1), pixels[others].flatten(1)), alike.long())


def noised() -> Batch:
    """Images with noise, and without."""
    pixels, _ = digits()
    noise = torch.randn(pixels.shape, generator=torch.Generator().manual_seed(1))
    return Batch((pixels + 0.3 * noise,), pixels)


def letters() -> Batch:
    """Pieces of text, and the letters that follow each of theirs."""
    numbers = torch.tensor([LETTERS.index(letter) for letter in TEXT[:11_000]])
    pieces = numbers.unfold(0, CONTEXT + 1, 7)
    return Batch((pieces[:, :-1].contiguous(),), pieces[:, 1:].contiguous())


def classified(output: Any, labels: Tensor) -> Tensor:
    """Cross-entropy of logits, bare or in a field as Hugging Face has them."""
    return F.cross_entropy(output if isinstance(output, Tensor) else output.logits, labels)


def following(logits_BTV: Tensor, letters_BT: Tensor) -> Tensor:
    """Cross-entropy of the next letter."""
    return F.cross_entropy(logits_BTV.flatten(0, 1), letters_BT.flatten())


def restored(output: Tensor, clean: Tensor) -> Tensor:
    """Mean squared error."""
    return F.mse_loss(output, clean)
