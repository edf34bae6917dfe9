"""Who sets a learning rate, and in which group of an optimizer a seed's parameters are."""

from typing import Any

import msgspec
import pytest
import torch
from torch import nn

from esper.api.growth import warmed_up
from tests.api.scripted_log import FAST, SPAN, Run, ScriptedLog

RATIO = FAST.seed_learning_rate_ratio


def two_groups(parameters: Any, rate: float, **options: Any) -> torch.optim.Optimizer:
    """The body first, then the head: where the span ends, at a tenth of the rate."""
    body_weight, body_bias, *head = parameters
    groups = [{"params": [body_weight, body_bias]}, {"params": head, "lr": rate / 10, "weight_decay": 0.5}]
    return torch.optim.AdamW(groups, rate, **options)


def grouped(run: Run) -> list[set[int]]:
    """The parameters of each group; each is in one group, and in it once."""
    groups = [group["params"] for group in run.optimizer.param_groups]
    every = [id(parameter) for group in groups for parameter in group]
    assert len(every) == len(set(every))
    return [{id(parameter) for parameter in group} for group in groups]


def kept(run: Run) -> nn.Module:
    assert run.session.stages[SPAN] == "fossilized"
    return run.session._growth.slots["s0"].module


def test_a_growing_seed_learns_at_the_rate_of_the_group_at_its_exit_wherever_a_scheduler_has_it(log: ScriptedLog):
    run = Run(log, optimizer=two_groups).to(3)
    own = run.session._growth.slots["s0"]._living().seed.optimizer
    assert own is not None
    assert own.param_groups[0]["name"] == "seed:s0"
    assert own.param_groups[0]["lr"] == pytest.approx(1e-3 * RATIO)
    run.optimizer.param_groups[1]["lr"] = 5e-4
    # Whoever else writes it is not asked.
    own.param_groups[0]["lr"] = 100.0
    run.steps(2)
    assert own.param_groups[0]["lr"] == pytest.approx(5e-4 * RATIO)
    assert [group["lr"] for group in run.optimizer.param_groups] == [1e-2, 5e-4]


def test_a_kept_seed_joins_the_group_at_its_exit_and_keeps_it_over_two_resumes(log: ScriptedLog):
    run = Run(log, optimizer=two_groups)
    run.to(8)
    seed = {id(parameter) for parameter in kept(run).parameters()}
    assert seed < grouped(run)[1]
    unkilled = run.to(10).weights
    for _ in range(2):
        run = Run(log, resume=run.session.run_id, optimizer=two_groups)
        assert {id(parameter) for parameter in kept(run).parameters()} < grouped(run)[1]
        assert [len(group) for group in grouped(run)] == [2, 2 + len(seed)]
        assert [group["weight_decay"] for group in run.optimizer.param_groups] == [0.01, 0.5]
    assert run.to(10).weights == unkilled


def test_fossilizing_leaves_the_hosts_moments_as_they_are_bit_for_bit(log: ScriptedLog):
    run, before = Run(log, optimizer=two_groups), dict[int, dict[str, Any]]()
    host = [*run.model.parameters()]
    while run.session.stages[SPAN] != "fossilized":
        run.steps()
        before = {
            id(parameter): {name: value.clone() for name, value in run.optimizer.state[parameter].items()}
            for parameter in host
        }
        run.session.end_epoch()
    for parameter in host:
        now = run.optimizer.state[parameter]
        assert all(torch.equal(value, now[name]) for name, value in before[id(parameter)].items())
    assert all("exp_avg" in run.optimizer.state[parameter] for parameter in kept(run).parameters())


def test_what_the_user_added_to_another_group_is_not_stepped_twice(log: ScriptedLog):
    run = Run(log, optimizer=two_groups).to(4)
    seed = run.session._growth.slots["s0"].module
    run.optimizer.add_param_group({"params": [*seed.parameters()], "lr": 1e-4})
    run.to(8)
    assert {id(parameter) for parameter in kept(run).parameters()} == grouped(run)[2]


def test_where_parameters_have_names_a_seeds_begin_with_its_own(log: ScriptedLog):
    def named(parameters: Any, rate: float) -> torch.optim.Optimizer:
        return torch.optim.AdamW([(f"host.{index}", each) for index, each in enumerate(parameters)], rate)

    run = Run(log, optimizer=named).to(8)
    kept(run)
    names = run.optimizer.param_groups[0]["param_names"]
    assert names[4:] == [f"seed:s0.{index}" for index in range(len(names) - 4)] != []


@pytest.mark.parametrize(("steps", "factor"), [(0, 0.1), (5, 0.55), (10, 1.0), (11, 1.0)])
def test_a_warm_up_rises_in_a_line_from_a_tenth(steps: int, factor: float):
    assert warmed_up(steps, 10) == pytest.approx(factor)
    assert warmed_up(steps, 0) == 1.0


def test_a_seed_warms_up_by_its_own_steps_and_goes_on_with_it_when_resumed(log: ScriptedLog):
    settings = msgspec.structs.replace(FAST, seed_warmup_steps=60, checkpoint_every_epochs=1)
    unkilled = Run(log, settings=settings).to(6).weights
    run = Run(log, settings=settings).to(3)
    slot = run.session._growth.slots["s0"]
    own = slot._living().seed.optimizer
    assert own is not None
    assert 0 < slot.steps_learnt < 60
    assert own.param_groups[0]["lr"] == pytest.approx(1e-2 * RATIO * warmed_up(slot.steps_learnt - 1, 60))
    again = Run(log, resume=run.session.run_id, settings=settings)
    assert again.session._growth.slots["s0"].steps_learnt == slot.steps_learnt
    assert again.to(6).weights == unkilled
