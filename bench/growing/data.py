"""The four data sets of the growth bench: real ones, read from where their packages put them, or refused by name."""

import gzip
import subprocess
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

# Dimensions: N samples, D features, T characters.

FASHION = Path("/usr/share/datasets/fashion-mnist")
LETTERS = Path("/usr/lib/R/site-library/mlbench/data/LetterRecognition.rda")
CONTEXT = 64


class DataMissing(Exception):
    """A data set is not on this machine; nothing else is used in its place."""

    def __init__(self, what: str, how: str) -> None:
        super().__init__(f"{what} is missing: {how}")


class Part(NamedTuple):
    """Inputs and what they should give."""

    inputs: Tensor
    targets: Tensor

    def to(self, many: int) -> "Part":
        """Return the first *many* samples."""
        return Part(self.inputs[:many], self.targets[:many])


class Data(NamedTuple):
    """What is learned from, what is chosen by, and what is looked at once."""

    train: Part
    valid: Part
    test: Part


def digits() -> Data:
    """1,797 images of 8 x 8 from scikit-learn, shuffled once: 1,097 / 250 / 450."""
    from sklearn.datasets import load_digits

    found = load_digits()
    order = torch.randperm(len(found.target), generator=torch.Generator().manual_seed(0))
    images_ND = torch.from_numpy(found.data.astype(np.float32) / 16.0)[order]
    return _split(Part(images_ND, torch.from_numpy(found.target.astype(np.int64))[order]), 1_097, 250, 450)


def letters(path: Path = LETTERS) -> Data:
    """20,000 letters, 16 features, 26 classes, in the set's own order: 14,000 / 2,000 / 4,000 (the usual test part)."""
    if not path.is_file():
        raise DataMissing(str(path), "apt-get install r-cran-mlbench, or give --letters")
    import rdata

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Unknown encoding")
        table = rdata.read_rda(path)["LetterRecognition"]
    features_ND = table.drop(columns="lettr").to_numpy(dtype=np.float32)
    features_ND = (features_ND - features_ND[:14_000].mean(0)) / features_ND[:14_000].std(0)
    labels_N = torch.from_numpy(table["lettr"].cat.codes.to_numpy(dtype=np.int64))
    return _split(Part(torch.from_numpy(features_ND), labels_N), 14_000, 2_000, 4_000)


def fashion(many: int = 20_000) -> Data:
    """Images of clothes as vectors of 784: *many* and 5,000 more of the training part, and the whole test part."""
    if not FASHION.is_dir():
        raise DataMissing(str(FASHION), "apt-get install dataset-fashion-mnist")
    seen, last = _fashion("train"), _fashion("t10k")
    first = _split(seen, many, 5_000, 0)
    return Data(first.train, first.valid, last)


def scripture() -> Data:
    """The King James Bible, 4.3 million characters, in windows of 64: the last 10 % in two halves, valid and test."""
    try:
        told = subprocess.run(["bible", "-l10000", "gen1:1-rev22:21"], input="\n", capture_output=True, text=True)
    except FileNotFoundError:
        raise DataMissing("the King James text", "apt-get install bible-kjv") from None
    text = told.stdout
    signs = {sign: index for index, sign in enumerate(sorted(set(text)))}
    codes_T = torch.tensor([signs[sign] for sign in text])
    whole_NT = codes_T[: (len(codes_T) - 1) // CONTEXT * CONTEXT].view(-1, CONTEXT)
    next_NT = codes_T[1 : whole_NT.numel() + 1].view(-1, CONTEXT)
    twentieth = len(whole_NT) // 20
    found = _split(Part(whole_NT, next_NT), len(whole_NT) - 2 * twentieth, twentieth, twentieth)
    # Spread evenly over the part: whole books differ from one another.
    return Data(found.train, _every(found.valid, 512), _every(found.test, 2_048))


def _split(whole: Part, *sizes: int) -> Data:
    inputs, targets = whole.inputs.split([*sizes, len(whole.inputs) - sum(sizes)]), None
    targets = whole.targets.split([*sizes, len(whole.targets) - sum(sizes)])
    train, valid, test = (Part(*pair) for pair in zip(inputs[:3], targets[:3], strict=True))
    return Data(train, valid, test)


def _every(part: Part, many: int) -> Part:
    chosen = torch.linspace(0, len(part.inputs) - 1, many).long()
    return Part(part.inputs[chosen], part.targets[chosen])


def _fashion(which: str) -> Part:
    images = gzip.decompress((FASHION / f"{which}-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((FASHION / f"{which}-labels-idx1-ubyte.gz").read_bytes())
    pixels_ND = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 784).astype(np.float32) / 255.0
    return Part(
        torch.from_numpy(pixels_ND), torch.from_numpy(np.frombuffer(labels, np.uint8, offset=8).astype(np.int64))
    )
