"""Watches the losses of a run, without making the host wait for a GPU at every step."""

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
        self._unseen: list[Tensor] = []
        self._panic: Panic | None = None

    @property
    def well(self) -> bool:
        """Whether the newest losses that were looked at are those of a run that is well."""
        return self._panic is None and self.vitals.calm

    def note(self, loss: Tensor) -> Panic | None:
        """Note one step's *loss*; return the panic that what was seen is cause for."""
        self._unseen.append(loss)
        every = 1 if loss.device.type == "cpu" else self._limits.check_every_steps
        return self.look() if len(self._unseen) >= every else None

    def look(self) -> Panic | None:
        """Look at what was not looked at yet; the first panic is returned, and what follows it is not judged."""
        unseen, self._unseen = self._unseen, []
        if not unseen:
            return None
        for loss in _fetched(unseen):
            self.vitals, self._panic = judge(self.vitals, loss, self._limits)
            if self._panic is not None:
                return self._panic
        return None

    def back_to(self, vitals: Vitals) -> None:
        """Go on from *vitals*; losses of the time that is left behind are forgotten."""
        self.vitals, self._unseen, self._panic = vitals, [], None


def _fetched(losses: list[Tensor]) -> list[float]:
    """Return *losses* as numbers, with one wait for their device however many they are."""
    if losses[0].device.type == "cpu":
        return [loss.item() for loss in losses]
    return cast("list[float]", torch.stack([loss.reshape(()).double() for loss in losses]).tolist())
