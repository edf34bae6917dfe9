"""Whether a tensor holds nothing but finite numbers."""

import math

import pytest
import torch

from esper.kasmina.finite import all_finite


@pytest.mark.parametrize("spoilt", [math.nan, math.inf, -math.inf])
def test_one_number_that_is_not_finite_is_found(spoilt: float):
    numbers = torch.ones(5, 3)
    assert all_finite(numbers)
    numbers[4, 1] = spoilt
    assert not all_finite(numbers)


def test_infinities_of_both_signs_do_not_cancel():
    assert not all_finite(torch.tensor([math.inf, -math.inf, 1.0]))


def test_finite_numbers_whose_sum_is_too_large_are_finite():
    assert all_finite(torch.full((4,), 3e38))
    assert all_finite(torch.full((4,), 6e4, dtype=torch.float16))
