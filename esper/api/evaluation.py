"""Held-out scores of the model, with seeds as they are, switched off, or at another alpha."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from numbers import Real

import msgspec
import torch
from torch import Tensor, nn

from esper.api.errors import EvaluationInvalid
from esper.kasmina.slot import Slot
from esper.kasmina.undisturbed import undisturbed

Evaluate = Callable[[nn.Module], float | Mapping[str, float]]

PROBED_ALPHAS = (0.25, 0.5, 1.0)


class Score(msgspec.Struct, frozen=True):
    """What `evaluate` returned: the score (larger is better), the loss if it gave one, and everything else it gave.

    A model that has diverged may score NaN: that is a fact about the run, and a gate that reads it fails.
    """

    value: float
    loss: float | None
    metrics: dict[str, float]

    @property
    def finest(self) -> float:
        """The finest number at hand to compare two versions of one model by; larger is better."""
        return self.value if self.loss is None else -self.loss


class AlphaProbe(msgspec.Struct, frozen=True):
    """How the model would score with one seed let in: the best alpha tried, and its gain over alpha 0."""

    best_alpha: float
    gain: float


class Evaluation:
    """Runs the user's `evaluate` so that nothing of the training notices: random streams, buffers, modes, gradients."""

    def __init__(self, model: nn.Module, evaluate: Evaluate) -> None:
        self._model, self._evaluate = model, evaluate

    def score(self) -> Score:
        """Score the model as it is.

        Raises:
            EvaluationInvalid: `evaluate` returned something else than numbers.
        """
        with undisturbed(self._model), torch.no_grad():
            returned = self._evaluate(self._model)
        return _read(returned)

    def without(self, *slots: Slot) -> Score:
        """Score the same weights with the seeds of *slots* switched off."""
        with ExitStack() as switched:
            for slot in slots:
                switched.enter_context(slot.override_alpha(0.0))
            return self.score()

    def at_alpha(self, slot: Slot, alpha: float) -> Score:
        """Score the same weights with the seed of *slot* at *alpha*."""
        with slot.override_alpha(alpha):
            return self.score()

    def probe(self, slot: Slot, as_is: Score, alphas: Sequence[float] = PROBED_ALPHAS) -> AlphaProbe:
        """Find out what letting the seed of *slot* in would bring, where *as_is* is the score at alpha 0.

        The gain is in units of the loss where `evaluate` gives one, else of the score.
        """
        gains = {alpha: self.at_alpha(slot, alpha).finest - as_is.finest for alpha in alphas}
        best = max(gains, key=lambda alpha: gains[alpha])
        return AlphaProbe(best, gains[best]) if gains[best] > 0.0 else AlphaProbe(0.0, 0.0)


def _read(returned: float | Mapping[str, float]) -> Score:
    if not isinstance(returned, Mapping):
        return Score(_number(returned), None, {})
    numbers = {name: _number(value) for name, value in returned.items()}
    if "score" not in numbers:
        raise EvaluationInvalid(repr(returned))
    metrics = {name: value for name, value in numbers.items() if name != "score"}
    return Score(numbers["score"], metrics.get("loss"), metrics)


def _number(value: object) -> float:
    if isinstance(value, Tensor) and value.numel() == 1:
        value = value.item()
    if not isinstance(value, Real):
        raise EvaluationInvalid(repr(value))
    return float(value)
