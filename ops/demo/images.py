"""The demo's real images: scikit-learn's digits, or Fashion-MNIST from files."""

import gzip
import importlib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ops.cli.errors import CommandFailed

# Dimensions: N samples, C channels, H height, W width.

FASHION_MNIST_FOLDER = Path("/usr/share/datasets/fashion-mnist")
FASHION_MNIST_TRAIN = 12_000
FASHION_MNIST_HELD_OUT = 2_000
IDX_DATA_OFFSETS = {2049: 8, 2051: 16}


class DataMissing(CommandFailed):
    """The data that was asked for is not on this machine; nothing else is used in its place."""

    def __init__(self, what: str, fix: str) -> None:
        self.what, self.fix = what, fix
        super().__init__(f"{what}: {fix}")


class Part(msgspec.Struct, frozen=True):
    """Images with mean 0 and standard deviation 1 over the training part, and their labels."""

    images_NCHW: Tensor
    labels_N: Tensor

    def __len__(self) -> int:
        return len(self.labels_N)


class Images(msgspec.Struct, frozen=True, kw_only=True):
    """A data set in three parts: to learn from, to decide by (held out), and never looked at before the end (test)."""

    name: str
    train: Part
    held_out: Part
    test: Part

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        height, width = self.train.images_NCHW.shape[-2:]
        return height, width

    @property
    def description(self) -> str:
        """Name, image size and samples of each part, for people."""
        height, width = self.image_size
        parts = f"{len(self.train):,} to train, {len(self.held_out):,} held out, {len(self.test):,} to test"
        return f"{self.name}, {height}x{width} pixels: {parts}"


def load_images(data: str, seed: int) -> Images:
    """Load the data set that *data* names: `digits`, `fashion-mnist` or `fashion-mnist:FOLDER`.

    *seed* draws which samples go into which part.

    Raises:
        DataMissing: the name is unknown, or the files are not there; says how to get them.
    """
    name, _, folder = data.partition(":")
    if name == "digits" and not folder:
        return _digits(seed)
    if name == "fashion-mnist":
        return _fashion_mnist(Path(folder) if folder else FASHION_MNIST_FOLDER, seed)
    raise DataMissing(f"no data set is called {data!r}", "use digits, fashion-mnist or fashion-mnist:FOLDER")


def _digits(seed: int) -> Images:
    try:
        datasets: Any = importlib.import_module("sklearn.datasets")
    except ModuleNotFoundError as error:
        raise DataMissing(
            "scikit-learn, which brings the digits, is not installed", "pip install scikit-learn"
        ) from error
    pixels_NHW, labels_N = datasets.load_digits(return_X_y=True)
    images_NHW = np.asarray(pixels_NHW, dtype=np.float32).reshape(-1, 8, 8)
    total = len(images_NHW)
    return _split("scikit-learn digits", images_NHW, np.asarray(labels_N), (total - 720, 360, 360), seed)


def _fashion_mnist(folder: Path, seed: int) -> Images:
    train_NHW, train_labels_N = read_idx(folder, "train-images-idx3-ubyte"), read_idx(folder, "train-labels-idx1-ubyte")
    test_NHW, test_labels_N = read_idx(folder, "t10k-images-idx3-ubyte"), read_idx(folder, "t10k-labels-idx1-ubyte")
    order = np.random.default_rng(seed).permutation(len(train_NHW))[: FASHION_MNIST_TRAIN + FASHION_MNIST_HELD_OUT]
    learn, decide = order[:FASHION_MNIST_TRAIN], order[FASHION_MNIST_TRAIN:]
    raw = [(train_NHW[learn], train_labels_N[learn]), (train_NHW[decide], train_labels_N[decide])]
    return _standardised(f"Fashion-MNIST from {folder}", [*raw, (test_NHW, test_labels_N)])


def read_idx(folder: Path, name: str) -> NDArray[np.uint8]:
    """Read one file of the IDX format, gzipped or plain: images as (N, H, W), labels as (N).

    Raises:
        DataMissing: there is no such file, or it is not of that format.
    """
    path = next((folder / f"{name}{suffix}" for suffix in ("", ".gz") if (folder / f"{name}{suffix}").is_file()), None)
    if path is None:
        fix = "install Debian's dataset-fashion-mnist, or give the folder: --data fashion-mnist:FOLDER"
        raise DataMissing(f"no {name} or {name}.gz in {folder}", fix)
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    offset = IDX_DATA_OFFSETS.get(int.from_bytes(raw[:4], "big"))
    if offset is None:
        raise DataMissing(f"{path} is not an IDX file of images or labels", "fetch it again")
    shape = [int.from_bytes(raw[start : start + 4], "big") for start in range(4, offset, 4)]
    if len(raw) - offset != int(np.prod(shape)):
        raise DataMissing(f"{path} does not hold the {shape[0]:,} samples that it announces", "fetch it again")
    return np.frombuffer(raw, dtype=np.uint8, offset=offset).reshape(shape)


def _split(
    name: str, images_NHW: NDArray[Any], labels_N: NDArray[Any], sizes: tuple[int, int, int], seed: int
) -> Images:
    order = np.random.default_rng(seed).permutation(len(images_NHW))
    cuts = np.split(order, np.cumsum(sizes)[:-1])
    return _standardised(name, [(images_NHW[part], labels_N[part]) for part in cuts])


def _standardised(name: str, raw: list[tuple[NDArray[Any], NDArray[Any]]]) -> Images:
    learned = raw[0][0].astype(np.float32)
    mean, deviation = float(learned.mean()), float(learned.std())
    parts = [
        Part(
            torch.from_numpy((images.astype(np.float32) - mean) / deviation).unsqueeze(1),
            torch.from_numpy(labels.astype(np.int64)),
        )
        for images, labels in raw
    ]
    train, held_out, test = parts
    return Images(name=name, train=train, held_out=held_out, test=test)
