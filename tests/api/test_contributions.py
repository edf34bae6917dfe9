"""What a seed is worth: Shapley values from scores with seeds switched off, and no more scores than were agreed."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from esper.api.contributions import Contributions
from esper.api.evaluation import Evaluation
from esper.kasmina.rules.alpha import Ramp
from esper.kasmina.slot import Slot
from esper.leyline.v1.enums_pb2 import ALPHA_CURVE_LINEAR, BLEND_MODE_RESIDUAL, SiteKind
from esper.leyline.v1.site_pb2 import Site, SiteShape

VECTOR = SiteShape(
    input_kind=SiteKind.SITE_KIND_VECTOR,
    input_size=[1],
    output_kind=SiteKind.SITE_KIND_VECTOR,
    output_size=[1],
    dtype="float32",
)
Game = Callable[[frozenset[int]], float]


class Adds(nn.Module):
    """Marks the model's output: seed number k adds 2 to the power of k."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.tensor([float(2**number)]))

    def forward(self, features: Tensor) -> Tensor:
        return torch.zeros_like(features) + self.bias


def played(game: Game, count: int) -> tuple[Contributions, list[frozenset[int]]]:
    """A model with *count* seeds whose score is what *game* says of those that are switched on; and what was scored."""
    model = nn.Sequential(nn.Linear(1, 1))
    nn.init.zeros_(model[0].weight)
    nn.init.zeros_(model[0].bias)
    slots: dict[str, Slot] = {}
    for number in range(count):
        slot = Slot(Site(seed_id=f"s{number}", label="0", exit_module="0"), model)
        slot.plant(Adds(number), mode=BLEND_MODE_RESIDUAL, learning_rate=None, init_seed=0, shape=VECTOR)
        slot.begin_blending(Ramp(0, 0, 1.0, 1.0, ALPHA_CURVE_LINEAR))
        slots[f"s{number}"] = slot
    asked: list[frozenset[int]] = []

    def score(grown: nn.Module) -> float:
        # Small enough that no seed is told to be too large for its host.
        marks = round(float(grown(torch.zeros(1, 1)).detach()))
        asked.append(frozenset(number for number in range(count) if marks >> number & 1))
        return game(asked[-1])

    evaluation = Evaluation(model, score)
    return Contributions(evaluation, slots, evaluation.score()), asked


def additive(seeds: frozenset[int]) -> float:
    return 0.5 + sum(0.1 * (number - 1) for number in seeds)


def test_one_seed_is_worth_what_the_score_loses_without_it():
    worth = played(lambda seeds: 0.9 if seeds else 0.7, 1)[0].worth(64, 0)
    assert worth.values == {"s0": pytest.approx(0.2)}
    assert worth.drops == {"s0": pytest.approx(-0.2)}


def test_two_seeds_that_do_the_same_share_what_it_is_worth_though_neither_is_missed_alone():
    worth = played(lambda seeds: 0.9 if seeds else 0.7, 2)[0].worth(64, 0)
    assert worth.values == {"s0": pytest.approx(0.1), "s1": pytest.approx(0.1)}
    assert worth.drops == {"s0": pytest.approx(0.0), "s1": pytest.approx(0.0)}


def test_four_seeds_take_every_combination_once_and_add_up():
    def game(seeds: frozenset[int]) -> float:
        return additive(seeds) + (0.4 if {0, 3} <= seeds else 0.0)

    contributions, asked = played(game, 4)
    worth = contributions.worth(1, 0)
    assert len(asked) == len(set(asked)) == 16
    assert [worth.values[f"s{n}"] for n in range(4)] == pytest.approx([0.1, 0.0, 0.1, 0.4])
    assert sum(worth.values.values()) == pytest.approx(game(frozenset(range(4))) - game(frozenset()))
    assert {tuple(each.seed_ids): each.score for each in worth.coalitions} == {
        tuple(f"s{n}" for n in sorted(seeds)): pytest.approx(game(seeds)) for seeds in asked
    }


@pytest.mark.parametrize(("count", "budget"), [(5, 64), (6, 64), (6, 5), (6, 30)])
def test_many_seeds_take_no_more_scores_than_agreed_and_the_same_ones_every_time(count: int, budget: int):
    contributions, asked = played(additive, count)
    worth = contributions.worth(budget, 7)
    # The first is the model as it is; one order and its reverse is the least that is spent.
    assert len(asked) - 1 <= max(budget, 2 * (count - 1) + 1)
    assert len(asked) == len(set(asked)) == len(worth.coalitions)
    assert [worth.values[f"s{n}"] for n in range(count)] == pytest.approx([0.1 * (n - 1) for n in range(count)])
    again, asked_again = played(additive, count)
    assert again.worth(budget, 7) == worth
    assert asked_again == asked


def test_sampled_values_come_near_the_exact_ones():
    def game(seeds: frozenset[int]) -> float:
        return 0.2 * len(seeds & {0, 1, 2}) ** 0.5 + (0.3 if {3, 4} <= seeds else 0.0)

    worth = played(game, 6)[0].worth(200, 3)
    exact = [0.2 * 3**0.5 / 3] * 3 + [0.15, 0.15, 0.0]
    assert [worth.values[f"s{n}"] for n in range(6)] == pytest.approx(exact, abs=0.05)
