"""Watches the losses of a run, without making the host wait for a GPU at every step."""

import math
from typing import cast

import torch
from torch import Tensor

from esper.tolaria.rules.vitals import Panic, Vitals, VitalsLimits, judge


class Governor:
    """Notes each step's loss and tells when the run must go back. Training thread only.

    On the CPU every loss is looked at as it comes. On another device losses are fetched together, every
    `check_every_steps` steps and at each epoch's end: a panic is at most that late.
    """

    def __init__(self, limits: VitalsLimits) -> None:
        self.vitals = Vitals()
        self._limits = limits
        self._unseen: list[tuple[Tensor, bool]] = []
        self._panic: Panic | None = None

    @property
    def well(self) -> bool:
        """Whether the newest losses that were looked at are those of a run that is well."""
        return self._panic is None and self.vitals.calm

    def note(self, loss: Tensor, *, comparable: bool = True) -> Panic | None:
        """Note one step's *loss*; return the panic that what was seen is cause for.

        One that is not *comparable*, because a seed was switched off to see what it is worth, must be finite; no more.
        """
        self._unseen.append((loss, comparable))
        every = 1 if loss.device.type == "cpu" else self._limits.check_every_steps
        return self.look() if len(self._unseen) >= every else None

    def look(self) -> Panic | None:
        """Look at what was not looked at yet; the first panic is returned, and what follows it is not judged."""
        unseen, self._unseen = self._unseen, []
        if not unseen:
            return None
        losses = _fetched([loss for loss, _ in unseen])
        for loss, (_, comparable) in zip(losses, unseen, strict=True):
            if comparable or not math.isfinite(loss):
                self.vitals, self._panic = judge(self.vitals, loss, self._limits)
            if self._panic is not None:
                return self._panic
        return None

    def begin_anew(self) -> None:
        """Forget which losses were normal: the model is another one from here on."""
        self.vitals = Vitals(first=self.vitals.first)

    def back_to(self, vitals: Vitals) -> None:
        """Go on from *vitals*; losses of the time that is left behind are forgotten."""
        self.vitals, self._unseen, self._panic = vitals, [], None


def _fetched(losses: list[Tensor]) -> list[float]:
    """Return *losses* as numbers, with one wait for their device however many they are."""
    if losses[0].device.type == "cpu":
        return [loss.item() for loss in losses]
    return cast("list[float]", torch.stack([loss.reshape(()).double() for loss in losses]).tolist())
