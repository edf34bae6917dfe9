"""A kernel is called only with what its guard allows."""

import pytest
import torch

from esper.urza.errors import BundleRefused
from esper.urza.guard import guard_allows, guard_bytes, guard_digest, parse_guard
from esper.urza.percentile import percentile
from tests.urza.shelf import guard_for


@pytest.mark.parametrize("batch", [1, 2, 1024])
def test_any_batch_in_range_is_allowed(batch: int):
    assert guard_allows(guard_for(), torch.zeros(batch, 6)) is None


@pytest.mark.parametrize(
    ("features", "why"),
    [
        (torch.zeros(0, 6), "dimension 0 is 0, outside 1..1024"),
        (torch.zeros(1025, 6), "dimension 0 is 1025, outside 1..1024"),
        (torch.zeros(2, 7), "dimension 1 is 7, outside 6..6"),
        (torch.zeros(2, 6, 1), "3 dimensions, not 2"),
        (torch.zeros(2, 6, dtype=torch.float64), "dtype is float64, not float32"),
    ],
)
def test_anything_else_is_named(features: torch.Tensor, why: str):
    assert guard_allows(guard_for(), features) == why


def test_a_guard_survives_its_bytes():
    assert parse_guard(guard_bytes(guard_for())) == guard_for()


def test_a_guard_in_another_form_is_refused():
    with pytest.raises(BundleRefused, match="canonical"):
        parse_guard(guard_bytes(guard_for()) + b" ")


def test_its_digest_is_that_of_its_bytes_forever():
    assert guard_digest(guard_for()) == "69b7dbc4dc29ef34b044a2c3c4cdd8e675465e6f5fb3c2029658c448a73b2d9b"


def test_percentiles_are_interpolated():
    assert percentile([4.0, 1.0, 2.0, 3.0], 0.5) == 2.5
    assert percentile([1.0, 2.0], 0.95) == pytest.approx(1.95)
