"""Whether a training run is well, by its losses alone: when it is not, the run goes back to where it was.

loss ─┬─ not finite ────────────────────────────────────→ panic
      ├─ a spike beyond all measure ────────────────────→ panic
      ├─ a spike (over 3 times the mean and 6 sigma) ───→ panic at the third in a row
      └─ at the loss of a guess, far over the mean ─────→ panic at the third in a row
"""

import math
from typing import NamedTuple

import msgspec
from msgspec.structs import replace


class VitalsLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When the governor rolls a run back by itself; `governed` False leaves that to you.

    A loss is held against the `window` losses before it that were normal, and against the mean of the run's first
    window: `floor_ratio` times that must be exceeded in a row, and `floor_ratio_at_once` times that at once. For the
    loss of a well-fitted model is so near zero that one hard batch is many times its mean, which is no divergence.
    With `classes`, the loss of a random guess is known (ln classes), and a
    model that falls back to guessing is caught. Where losses lie on a GPU they are looked at every
    `check_every_steps` steps, so that the host does not wait for the device at each; that is how late a panic can be.
    After `rollbacks_in_a_row` rollbacks without a sound checkpoint between them the run is halted.
    """

    governed: bool = True
    window: int = 20
    min_losses: int = 10
    sigmas: float = 6.0
    times_mean: float = 3.0
    in_a_row: int = 3
    times_mean_at_once: float = 15.0
    floor_ratio: float = 0.5
    floor_ratio_at_once: float = 10.0
    classes: int | None = None
    collapse_below: float = 0.6
    collapse_band: float = 0.065
    check_every_steps: int = 8
    rollbacks_in_a_row: int = 3


class Vitals(msgspec.Struct, frozen=True):
    """What is remembered of a run's losses: the newest normal ones, and how the run began."""

    normal: tuple[float, ...] = ()
    first: tuple[float, ...] = ()
    spikes: int = 0
    guesses: int = 0

    @property
    def calm(self) -> bool:
        """Whether the newest loss was a normal one."""
        return not self.spikes and not self.guesses


class Panic(NamedTuple):
    """Why a run must go back."""

    reason: str
    loss: float


def judge(vitals: Vitals, loss: float, limits: VitalsLimits) -> tuple[Vitals, Panic | None]:
    """Return the vitals once *loss* was seen, and the panic that it is cause for."""
    if not math.isfinite(loss):
        return vitals, Panic(f"the loss is {loss}", loss)
    if len(vitals.normal) < limits.min_losses:
        return _with(vitals, loss, limits), None
    mean = math.fsum(vitals.normal) / len(vitals.normal)
    if _guessing(loss, mean, limits):
        vitals = replace(vitals, guesses=vitals.guesses + 1, spikes=0)
        told = f"the loss went from {mean:.4g} to {loss:.4g}, which is that of a guess"
        return vitals, Panic(told, loss) if vitals.guesses >= limits.in_a_row else None
    if not _spike(vitals, loss, mean, limits):
        return _with(vitals, loss, limits), None
    vitals = replace(vitals, spikes=vitals.spikes + 1, guesses=0)
    told = f"the loss went from {mean:.4g} to {loss:.4g}"
    if _beyond(loss, mean, limits.times_mean_at_once) and _over(vitals, loss, limits.floor_ratio_at_once):
        return vitals, Panic(f"{told} at once", loss)
    if vitals.spikes >= limits.in_a_row:
        return vitals, Panic(f"{told}, the last of {vitals.spikes} spikes in a row", loss)
    return vitals, None


def _spike(vitals: Vitals, loss: float, mean: float, limits: VitalsLimits) -> bool:
    variance = math.fsum((value - mean) ** 2 for value in vitals.normal) / len(vitals.normal)
    return (
        loss - mean > limits.sigmas * math.sqrt(variance)
        and _beyond(loss, mean, limits.times_mean)
        and _over(vitals, loss, limits.floor_ratio)
    )


def _beyond(loss: float, mean: float, times: float) -> bool:
    """Tell whether *loss* is more than *times* the mean; of a mean below zero, as far above it."""
    return loss - mean > (times - 1.0) * abs(mean)


def _over(vitals: Vitals, loss: float, ratio: float) -> bool:
    started = math.fsum(vitals.first) / len(vitals.first)
    return started <= 0.0 or loss > ratio * started


def _guessing(loss: float, mean: float, limits: VitalsLimits) -> bool:
    if limits.classes is None:
        return False
    guess = math.log(limits.classes)
    return mean < limits.collapse_below * guess and abs(loss - guess) < limits.collapse_band * guess


def _with(vitals: Vitals, loss: float, limits: VitalsLimits) -> Vitals:
    first = vitals.first if len(vitals.first) >= limits.window else (*vitals.first, loss)
    return Vitals(normal=(*vitals.normal, loss)[-limits.window :], first=first)
