"""The demo's data are real, whole and told about, or the demo stops."""

import gzip

import numpy as np
import pytest
import torch

from ops.demo.images import DataMissing, load_images, read_idx


def write_idx(path, array, magic):
    head = b"".join(number.to_bytes(4, "big") for number in (magic, *array.shape))
    path.write_bytes(gzip.compress(head + array.astype(np.uint8).tobytes()))


def test_the_digits_are_all_1797_and_the_sizes_are_told():
    digits = load_images("digits", seed=0)
    assert len(digits.train) + len(digits.held_out) + len(digits.test) == 1797
    assert digits.description == "scikit-learn digits, 8x8 pixels: 1,077 to train, 360 held out, 360 to test"


def test_the_parts_share_no_sample():
    digits = load_images("digits", seed=0)
    rows = [tuple(image.flatten().tolist()) for part in (digits.train, digits.held_out) for image in part.images_NCHW]
    assert len(rows) == len(set(rows))


def test_the_same_seed_splits_the_same_way_and_another_does_not():
    first, again, other = (load_images("digits", seed=seed).train.labels_N for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_training_images_have_mean_0_and_deviation_1():
    images_NCHW = load_images("digits", seed=0).train.images_NCHW
    assert abs(float(images_NCHW.mean())) < 1e-5
    assert abs(float(images_NCHW.std()) - 1) < 1e-3


@pytest.mark.parametrize("name", ["mnist", "digits:/tmp", ""])
def test_an_unknown_name_is_refused_and_the_known_ones_are_listed(name):
    with pytest.raises(DataMissing, match="use digits, fashion-mnist"):
        load_images(name, seed=0)


def test_missing_files_are_named_with_the_fix_and_nothing_takes_their_place(tmp_path):
    with pytest.raises(
        DataMissing, match=r"no train-images-idx3-ubyte .* in .*: install Debian's dataset-fashion-mnist"
    ):
        load_images(f"fashion-mnist:{tmp_path}", seed=0)


def test_an_idx_file_is_read_as_written(tmp_path):
    images = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    write_idx(tmp_path / "train-images-idx3-ubyte.gz", images, magic=2051)
    assert np.array_equal(read_idx(tmp_path, "train-images-idx3-ubyte"), images)


def test_a_truncated_idx_file_is_refused(tmp_path):
    (tmp_path / "labels").write_bytes((2049).to_bytes(4, "big") + (5).to_bytes(4, "big") + b"123")
    with pytest.raises(DataMissing, match="does not hold the 5 samples"):
        read_idx(tmp_path, "labels")
