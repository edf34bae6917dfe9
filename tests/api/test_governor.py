"""Which losses the governor holds against which."""

import math

import torch

from esper.api.governor import Governor
from esper.tolaria.rules.vitals import VitalsLimits


def calm(loss: float = 0.2) -> Governor:
    """A governor that has seen a run fall from a high loss to about *loss*."""
    governor = Governor(VitalsLimits())
    for value in [2.0] * 20 + [loss + 0.01 * (step % 3) for step in range(30)]:
        assert governor.note(torch.tensor(value)) is None
    return governor


def test_losses_without_a_seed_that_is_switched_off_for_its_probes_are_no_divergence():
    governor = calm()
    assert [governor.note(torch.tensor(2.0), comparable=False) for _ in range(3)] == [None] * 3
    assert governor.note(torch.tensor(0.2)) is None
    assert governor.well


def test_the_same_losses_of_a_whole_model_are():
    governor = calm()
    assert [governor.note(torch.tensor(2.0)) is None for _ in range(3)] == [True, True, False]


def test_a_loss_that_is_not_finite_is_never_excused():
    panic = calm().note(torch.tensor(math.nan), comparable=False)
    assert panic is not None


def test_a_model_that_lost_a_seed_is_held_against_itself():
    governor = calm()
    governor.begin_anew()
    assert [governor.note(torch.tensor(2.0)) for _ in range(12)] == [None] * 12
