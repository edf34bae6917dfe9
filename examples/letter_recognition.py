"""Grow a narrow network on LetterRecognition: 20,000 letters, 16 features, 26 classes (Slate 1991, UCI).

    python examples/letter_recognition.py LetterRecognition.rda             # two hidden layers of 8: too few, it grows
    python examples/letter_recognition.py LetterRecognition.rda --width 128 # wide enough: nothing has to grow

The data are Debian's, in its package r-cran-mlbench:
    apt-get download r-cran-mlbench && dpkg-deb --fsys-tarfile r-cran-mlbench_*.deb \\
        | tar -x --wildcards --strip-components=7 '*/LetterRecognition.rda'
"""

import argparse
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import rdata
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import esper

# Dimensions: N samples, D features, K classes.

TRAIN, HELD_OUT, TEST = 14_000, 2_000, 4_000
BATCH = 128
LEARNING_RATE = 1e-2


class LettersMissing(Exception):
    """LetterRecognition.rda is not where it was looked for; nothing else is used in its place."""

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(
            f"no LetterRecognition data at {path}: see the head of {Path(__file__).name} for how to get it"
        )


def load_letters(path: Path) -> tuple[Tensor, Tensor]:
    """Return all features (N, D), each with mean 0 and deviation 1, and labels (N).

    Raises:
        LettersMissing: there is no such file.
    """
    if not path.is_file():
        raise LettersMissing(path)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Unknown encoding")
        table = rdata.read_rda(path)["LetterRecognition"]
    features_ND = table.drop(columns="lettr").to_numpy(dtype=np.float32)
    labels_N = table["lettr"].cat.codes.to_numpy(dtype=np.int64)
    features_ND = (features_ND - features_ND.mean(0)) / features_ND.std(0)
    return torch.from_numpy(features_ND), torch.from_numpy(labels_N)


def accuracy(model: nn.Module, features_ND: Tensor, labels_N: Tensor) -> float:
    """Return the share of letters that are named rightly."""
    with torch.no_grad():
        return float((model(features_ND).argmax(1) == labels_N).float().mean())


def main() -> None:
    """Train, grow and report."""
    parser = argparse.ArgumentParser(description="Grow a network on LetterRecognition.")
    parser.add_argument("path", type=Path, help="LetterRecognition.rda of Debian's r-cran-mlbench")
    parser.add_argument("--width", type=int, default=8, help="units in each of the two hidden layers")
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log", default="embedded", help="embedded, memory or nats://...")
    options = parser.parse_args()

    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    features_ND, labels_N = load_letters(options.path)
    train_ND, held_out_ND, test_ND = features_ND.split([TRAIN, HELD_OUT, TEST])
    train_N, held_out_N, test_N = labels_N.split([TRAIN, HELD_OUT, TEST])
    print(f"LetterRecognition: {TRAIN:,} to train, {HELD_OUT:,} held out, {TEST:,} to test")

    width = options.width
    net = nn.Sequential(nn.Linear(16, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 26))
    optimizer = torch.optim.AdamW(net.parameters(), lr=LEARNING_RATE)
    evaluate = partial(accuracy, features_ND=held_out_ND, labels_N=held_out_N)
    before = sum(parameter.numel() for parameter in net.parameters())

    model = esper.wrap(net, sites=[("0", "4"), ("0", "2"), "2"])
    with esper.attach(
        model, optimizer, evaluate=evaluate, log=options.log, seed=options.seed, data="LetterRecognition"
    ) as session:
        for _ in range(session.epoch, options.epochs):
            for chosen in torch.randperm(TRAIN).split(BATCH):
                loss = F.cross_entropy(model(train_ND[chosen]), train_N[chosen])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                session.step(loss)
            session.end_epoch()
    grown = esper.unwrap(model)

    after = sum(parameter.numel() for parameter in grown.parameters())
    print(f"test accuracy {accuracy(grown, test_ND, test_N):.2%}, parameters {before:,} -> {after:,}")


if __name__ == "__main__":
    main()
