"""Hosts as people write them, each with its data: scikit-learn's digits, and the letters of this project's license."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from esper.kasmina.requests import SiteRequests, site
from tests.kasmina.growing_host import digits

TEXT = Path(__file__).parents[3].joinpath("LICENSE").read_text()[:4000]
LETTERS = sorted(set(TEXT))


class TabularMLP(nn.Module):
    """Pixels as columns, with a categorical one of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.category = nn.Embedding(4, 3)
        self.net = nn.Sequential(
            nn.Linear(67, 6),
            nn.BatchNorm1d(6),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.Linear(6, 6),
            nn.ReLU(),
            nn.Linear(6, 10),
        )

    def forward(self, columns: Tensor) -> Tensor:
        return self.net(torch.cat([columns, self.category((columns[:, 27] * 3).long())], 1))


class BasicBlock(nn.Module):
    """The block of torchvision's small ResNets."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outside)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outside)
        self.downsample = nn.Conv2d(inside, outside, 1, stride, bias=False) if stride > 1 else None

    def forward(self, features: Tensor) -> Tensor:
        beside = features if self.downsample is None else self.downsample(features)
        return self.relu(beside + self.bn2(self.conv2(self.relu(self.bn1(self.conv1(features))))))


class ResNet(nn.Module):
    """Stem, two stages, pooling and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 4, 3, 1, 1, bias=False), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
        self.layer1 = nn.Sequential(BasicBlock(4, 4, 1))
        self.layer2 = nn.Sequential(BasicBlock(4, 8, 2))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(8, 10)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.pool(self.layer2(self.layer1(self.stem(images)))).flatten(1))


class CharLSTM(nn.Module):
    """The next letter from those before; *batch_first* as torch's tutorials have it, or torch's default."""

    def __init__(self, batch_first: bool = True) -> None:
        super().__init__()
        self.embed = nn.Embedding(len(LETTERS), 8)
        self.lstm = nn.LSTM(8, 12, num_layers=2, dropout=0.1, batch_first=batch_first)
        self.head = nn.Linear(12, len(LETTERS))
        self.batch_first = batch_first

    def forward(self, letters_BT: Tensor) -> Tensor:
        embedded = self.embed(letters_BT if self.batch_first else letters_BT.T)
        logits = self.head(self.lstm(embedded)[0])
        return logits if self.batch_first else logits.transpose(0, 1)


class SmallTransformer(nn.Module):
    """Rows of an image as tokens, torch's own encoder layers, the mean as the summary."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(8, 16)
        self.place = nn.Parameter(torch.randn(8, 16) * 0.02)
        layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(16, 10)

    def forward(self, rows_BTC: Tensor) -> Tensor:
        return self.head(self.encoder(self.embed(rows_BTC) + self.place).mean(1))


@dataclass
class BlockOutput:
    """What a block in the style of Hugging Face returns."""

    hidden_states: Tensor
    attentions: Tensor | None = None


class HFBlock(nn.Module):
    """Attention and feed-forward with residuals; returns a dataclass."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, 2, dropout=0.1, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, hidden_states: Tensor, output_attentions: bool = False) -> BlockOutput:
        normed = self.ln_1(hidden_states)
        mask = nn.Transformer.generate_square_subsequent_mask(normed.shape[1])
        mixed, weights = self.attn(normed, normed, normed, attn_mask=mask)
        hidden_states = hidden_states + mixed
        hidden_states = hidden_states + self.mlp(self.ln_2(hidden_states))
        return BlockOutput(hidden_states, weights if output_attentions else None)


class TiedLM(nn.Module):
    """A causal language model whose head is its embedding."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.wte = nn.Embedding(len(LETTERS), width)
        self.wpe = nn.Embedding(16, width)
        self.h = nn.ModuleList(HFBlock(width) for _ in range(2))
        self.ln_f = nn.LayerNorm(width)
        self.lm_head = nn.Linear(width, len(LETTERS), bias=False)
        self.lm_head.weight = self.wte.weight

    def forward(self, input_ids: Tensor) -> dict[str, Tensor]:
        hidden = self.wte(input_ids) + self.wpe.weight[: input_ids.shape[1]]
        for block in self.h:
            hidden = block(hidden_states=hidden).hidden_states
        return {"logits": self.lm_head(self.ln_f(hidden)), "hidden": hidden}


class Siamese(nn.Module):
    """One encoder that runs twice; tells whether two images show the same digit."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 6))
        self.head = nn.Linear(6, 2)

    def forward(self, images: Tensor) -> Tensor:
        one, other = images.flatten(1).chunk(2)
        return self.head((self.encoder(one) - self.encoder(other)).abs())


class CellLoop(nn.Module):
    """A GRU cell in a loop over the rows of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(8, 10)
        self.head = nn.Linear(10, 10)

    def forward(self, rows_BTC: Tensor) -> Tensor:
        state = rows_BTC.new_zeros(len(rows_BTC), 10)
        for row in rows_BTC.unbind(1):
            state = self.cell(row, state)
        return self.head(state)


class Case(NamedTuple):
    """A host, its sites, and its data: batch number to inputs and targets."""

    build: Callable[[], nn.Module]
    sites: SiteRequests
    batch: Callable[[int], tuple[Tensor, Tensor]]
    loss: Callable[[Any, Tensor], Tensor]


def columns(index: int) -> tuple[Tensor, Tensor]:
    images, labels = digits()
    rows = slice(16 * index, 16 * index + 16)
    return images[rows].flatten(1), labels[rows]


def images(index: int) -> tuple[Tensor, Tensor]:
    flat, labels = columns(index)
    return flat.view(-1, 1, 8, 8), labels


def rows(index: int) -> tuple[Tensor, Tensor]:
    flat, labels = columns(index)
    return flat.view(-1, 8, 8), labels


def pairs(index: int) -> tuple[Tensor, Tensor]:
    flat, labels = columns(index)
    one, other = labels.chunk(2)
    return flat, (one == other).long()


def letters(index: int) -> tuple[Tensor, Tensor]:
    """Sixteen pieces of text, fifteen letters each, and the letters that follow."""
    numbers = torch.tensor([LETTERS.index(letter) for letter in TEXT])
    pieces = torch.stack([numbers[start : start + 16] for start in range(100 * index, 100 * index + 240, 15)])
    return pieces[:, :-1], pieces[:, 1:]


def classified(output: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(output, labels)


def predicted(output: Any, following: Tensor) -> Tensor:
    logits = output["logits"] if isinstance(output, dict) else output
    return F.cross_entropy(logits.flatten(0, 1), following.flatten())


ZOO: dict[str, Case] = {
    "tabular MLP": Case(TabularMLP, [("net.0", "net.6")], columns, classified),
    "MLP block": Case(TabularMLP, ["net.4"], columns, classified),
    "ResNet block": Case(ResNet, ["layer1.0"], images, classified),
    "ResNet span, strided": Case(ResNet, [("layer1", "layer2")], images, classified),
    "ResNet span to logits": Case(ResNet, [("stem", "fc")], images, classified),
    "LSTM": Case(CharLSTM, ["lstm"], letters, predicted),
    "LSTM, time first": Case(lambda: CharLSTM(batch_first=False), ["lstm"], letters, predicted),
    "LSTM span, time first": Case(
        lambda: CharLSTM(batch_first=False), [site(("lstm", "head"), layout="TBC")], letters, predicted
    ),
    "transformer attention": Case(SmallTransformer, ["encoder.layers.0.self_attn"], rows, classified),
    "transformer MLP": Case(SmallTransformer, ["encoder.layers.1.linear2"], rows, classified),
    "transformer layer": Case(SmallTransformer, ["encoder.layers.0"], rows, classified),
    "Hugging Face block": Case(TiedLM, [site("h.0", output="hidden_states")], letters, predicted),
    "Hugging Face attention": Case(TiedLM, ["h.1.attn"], letters, predicted),
    "tied head": Case(TiedLM, ["lm_head"], letters, predicted),
    "siamese": Case(Siamese, ["encoder"], pairs, classified),
    "cell in a loop": Case(CellLoop, ["cell"], rows, classified),
}
