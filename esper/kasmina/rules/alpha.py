"""Where alpha stands at a given optimizer step."""

import math

import msgspec

from esper.leyline.v1.enums_pb2 import AlphaCurve

# How much steeper the middle of a sigmoid is than its ends: at fifths 0, .024, .230, .770, .976, 1.
SIGMOID_STEEPNESS = 12.0


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
        done = _along(self.curve, max(0, step - self.start_step) / self.total_steps)
        return self.start + (self.target - self.start) * done

    def completed(self, step: int) -> bool:
        """Tell whether alpha rests at its target once *step* optimizer steps are done."""
        return step >= self.start_step + self.total_steps


def _along(curve: AlphaCurve, done: float) -> float:
    match curve:
        case AlphaCurve.ALPHA_CURVE_COSINE:
            return 0.5 * (1.0 - math.cos(math.pi * done))
        case AlphaCurve.ALPHA_CURVE_SIGMOID:
            low, high = _sigmoid(-0.5), _sigmoid(0.5)
            return (_sigmoid(done - 0.5) - low) / (high - low)
        case _:
            return done


def _sigmoid(place: float) -> float:
    return 1.0 / (1.0 + math.exp(-SIGMOID_STEEPNESS * place))
