"""What each live seed is worth: held-out scores of the same weights with seeds switched off."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from math import factorial

import msgspec
import torch

from esper.api.evaluation import Evaluation, Score
from esper.kasmina.slot import Slot
from esper.leyline.v1.run_pb2 import Coalition

# Up to so many seeds every combination is scored: 15 scores beside the model's own.
ALL_COMBINATIONS = 4


class Worth(msgspec.Struct, frozen=True):
    """The seeds' Shapley values (Shapley 1953), and the scores that they were computed from.

    They add up to what the score has gained by all of them together; two seeds that do the same thing share it. *drops*
    is how much better the score would be without one seed alone, where that was scored.
    """

    values: Mapping[str, float]
    drops: Mapping[str, float]
    coalitions: Sequence[Coalition]


class Contributions:
    """Scores combinations of seeds, each at most once."""

    def __init__(self, evaluation: Evaluation, slots: Mapping[str, Slot], as_is: Score) -> None:
        self._evaluation, self._slots = evaluation, slots
        self._seeds = tuple(slots)
        self._scores: dict[frozenset[str], float] = {frozenset(self._seeds): as_is.value}

    def worth(self, evaluations: int, draw: int) -> Worth:
        """Return what each seed contributes: exactly for up to four, else from orders drawn by *draw*.

        More than four take at most *evaluations* scores, but no fewer than one order and its reverse need.
        """
        if not self._seeds:
            return Worth({}, {}, ())
        values = self._exact() if len(self._seeds) <= ALL_COMBINATIONS else self._sampled(evaluations, draw)
        everyone = frozenset(self._seeds)
        alone = {seed: everyone - {seed} for seed in self._seeds}
        drops = {
            seed: self._scores[others] - self._scores[everyone]
            for seed, others in alone.items()
            if others in self._scores
        }
        scored = [Coalition(seed_ids=sorted(seeds), score=score) for seeds, score in self._scores.items()]
        return Worth(values, drops, scored)

    def _exact(self) -> dict[str, float]:
        count = len(self._seeds)
        values = dict.fromkeys(self._seeds, 0.0)
        for seed in self._seeds:
            others = [other for other in self._seeds if other != seed]
            for size in range(count):
                weight = factorial(size) * factorial(count - size - 1) / factorial(count)
                for chosen in combinations(others, size):
                    values[seed] += weight * (self._score({*chosen, seed}) - self._score(chosen))
        return values

    def _sampled(self, evaluations: int, draw: int) -> dict[str, float]:
        """Average over orders in which the seeds are switched off, each with its reverse (Mitchell et al. 2022)."""
        count = len(self._seeds)
        pairs = max(1, (evaluations - 1) // (2 * (count - 1)))
        generator = torch.Generator().manual_seed(draw)
        values = dict.fromkeys(self._seeds, 0.0)
        for _ in range(pairs):
            order = [self._seeds[index] for index in torch.randperm(count, generator=generator)]
            for way in (order, order[::-1]):
                for place, seed in enumerate(way):
                    values[seed] += self._score(way[place:]) - self._score(way[place + 1 :])
        return {seed: value / (2 * pairs) for seed, value in values.items()}

    def _score(self, seeds: Iterable[str]) -> float:
        wanted = frozenset(seeds)
        if wanted not in self._scores:
            off = [self._slots[seed] for seed in self._seeds if seed not in wanted]
            self._scores[wanted] = self._evaluation.without(*off).value
        return self._scores[wanted]
