"""When a run's losses are cause for panic, and when they are not."""

import math
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import nn

from esper.tolaria.rules.vitals import Panic, Vitals, VitalsLimits, judge
from tests.api.hosts import digits, noisy, train_step

LIMITS = VitalsLimits()
CALM = [2.0 - 0.05 * index for index in range(20)]


def watch(losses: Sequence[float], limits: VitalsLimits = LIMITS) -> tuple[Vitals, list[tuple[int, Panic]]]:
    """Return the vitals after *losses*, and the panics by the index of their loss."""
    vitals, panics = Vitals(), list[tuple[int, Panic]]()
    for index, loss in enumerate(losses):
        vitals, panic = judge(vitals, loss, limits)
        panics += [(index, panic)] if panic else []
    return vitals, panics


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_is_cause_for_panic_at_once(loss: float):
    assert watch([loss])[1][0][1].reason == f"the loss is {loss}"


def test_a_loss_beyond_all_measure_is_cause_for_panic_at_once():
    ((index, panic),) = watch([*CALM, 40.0])[1]
    assert (index, panic.reason) == (20, "the loss went from 1.525 to 40 at once")


def test_three_spikes_in_a_row_are_cause_for_panic_and_two_are_not():
    assert [index for index, _ in watch([*CALM, 9.0, 9.0, 9.0])[1]] == [22]
    vitals, panics = watch([*CALM, 9.0, 9.0, 1.0, 9.0, 9.0])
    assert (panics, vitals.spikes, vitals.calm) == ([], 2, False)


def test_spikes_do_not_become_what_is_normal():
    vitals, _ = watch([*CALM, 9.0, 9.0])
    assert max(vitals.normal) <= 2.0


def test_a_well_fitted_model_that_diverges_is_seen_within_three_steps():
    losses = [*[2.3] * 20, *[0.3] * 30, 5.0, 6.0, 7.0]
    assert [index for index, _ in watch(losses)[1]] == [52]


def test_one_hard_batch_of_a_model_whose_loss_is_near_zero_is_no_divergence():
    assert not watch([*CALM, *[1e-4] * 30, 0.05, 0.05, 0.05, 1e-4])[1]


def test_nothing_is_judged_before_there_is_something_to_judge_by():
    assert not watch([1.0] * 9 + [1000.0])[1]
    assert watch([1.0] * 10 + [1000.0])[1]


def test_a_falling_negative_loss_is_well_and_a_leap_of_it_is_not():
    falling = [-1.0 - 0.1 * index for index in range(40)]
    assert not watch(falling)[1]
    assert watch([*falling, 500.0])[1]


def test_a_model_that_falls_back_to_guessing_is_caught_when_the_classes_are_known():
    losses = [*[2.3] * 10, *[0.5] * 30, 2.3, 2.28, 2.31]
    assert watch(losses, VitalsLimits(classes=10))[1][0][0] == 42
    assert "that of a guess" in watch(losses, VitalsLimits(classes=10))[1][0][1].reason


def fitted() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


@pytest.mark.parametrize("host", [noisy, fitted])
@pytest.mark.parametrize("size", [2, 4, 32])
def test_ordinary_noisy_training_raises_no_alarm(host: Callable[[], nn.Module], size: int):
    torch.manual_seed(1)
    data, model = digits(), host()
    optimizer: torch.optim.Optimizer = torch.optim.SGD(model.parameters(), 0.02, momentum=0.9)
    epochs = 3 if size < 32 else 6
    losses = [train_step(model, optimizer, x, y).item() for _ in range(epochs) for x, y in data.batches(size)]
    assert max(losses[100:]) > 3 * min(losses[100:])
    assert watch(losses, VitalsLimits(classes=10))[1] == []


def test_the_vitals_come_back_as_they_were():
    vitals, _ = watch([*CALM, 9.0])
    assert vitals.spikes == 1
    assert judge(vitals, 9.0, LIMITS)[0].spikes == 2


def test_a_thousand_times_the_learning_rate_is_found_within_a_few_steps():
    torch.manual_seed(0)
    data, model = digits(), nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    losses = [train_step(model, optimizer, x, y).item() for x, y in data.batches(16)]
    optimizer.param_groups[0]["lr"] = 100.0
    losses += [train_step(model, optimizer, x, y).item() for x, y in list(data.batches(16))[:20]]
    ((first, _), *_) = watch(losses)[1]
    assert 0 < first - 88 < 12
