"""Where alpha stands at a given optimizer step."""

import math

import msgspec

from esper.leyline.v1.enums_pb2 import AlphaCurve


class Ramp(msgspec.Struct, frozen=True):
    """A walk of alpha from *start* to *target* over *total_steps* optimizer steps, beginning at *start_step*."""

    start_step: int
    total_steps: int
    start: float
    target: float
    curve: AlphaCurve

    def at(self, step: int) -> float:
        """Return alpha once *step* optimizer steps are done; exactly *target* from the last one on."""
        if step >= self.start_step + self.total_steps:
            return self.target
        done = max(0, step - self.start_step) / self.total_steps
        if self.curve == AlphaCurve.ALPHA_CURVE_COSINE:
            done = 0.5 * (1.0 - math.cos(math.pi * done))
        return self.start + (self.target - self.start) * done

    def completed(self, step: int) -> bool:
        """Tell whether alpha rests at its target once *step* optimizer steps are done."""
        return step >= self.start_step + self.total_steps
