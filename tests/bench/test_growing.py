"""The parts of the growth bench that its numbers rest on."""

import pytest
import torch

from bench.growing.arms import Outcome, Trial, count, fitting_width
from bench.growing.campaign import MATCHED, Row
from bench.growing.report import report
from bench.growing.tasks import CharacterModel, loss_of, perceptron, tasks
from bench.growing.widening import hidden_pairs, widen

TASKS = tasks(None)  # type: ignore[arg-type]


def trained_one_step() -> tuple[torch.nn.Module, torch.optim.AdamW, torch.Tensor]:
    torch.manual_seed(0)
    model, images = perceptron(4, inputs=16, classes=3), torch.randn(8, 16)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    loss_of(model, images, torch.arange(8) % 3).backward()
    optimizer.step()
    return model, optimizer, images


def test_widening_changes_neither_outputs_nor_the_moments_that_were_there():
    model, optimizer, images = trained_one_step()
    before, moments = model(images), optimizer.state[model[2].weight]["exp_avg"].clone()
    widen(model, optimizer, 5)
    assert torch.allclose(model(images), before, atol=1e-6)
    assert model[2].weight.shape == (9, 9)
    assert torch.equal(optimizer.state[model[2].weight]["exp_avg"][:4, :4], moments)


def test_widened_units_learn():
    model, optimizer, images = trained_one_step()
    widen(model, optimizer, 5)
    optimizer.zero_grad()
    loss_of(model, images, torch.arange(8) % 3).backward()
    optimizer.step()
    assert {id(one) for one in optimizer.param_groups[0]["params"]} == {id(one) for one in model.parameters()}
    assert model[4].weight[:, 4:].any()


def test_the_feed_forward_parts_of_a_transformer_are_what_is_widened():
    assert [maker.out_features for maker, _ in hidden_pairs(CharacterModel(8))] == [8, 8]


@pytest.mark.parametrize("name", TASKS)
def test_a_static_net_is_found_that_is_as_large_as_another(name: str):
    task = TASKS[name]
    assert fitting_width(task, count(task.host(37))) == 37


def row(role: str, seed: int, test: float) -> Row:
    trial = Trial(task="letters", arm="grown", rate=0.01, seed=seed, epochs=24, tested=True)
    return Row(role=role, trial=trial, outcome=Outcome(valid=1.0, test=test, parameters=100, cpu_s=2.0))


def test_the_report_compares_seed_by_seed():
    rows = [row("grown", 0, 96.0), row("grown", 1, 95.0), row(MATCHED, 0, 95.0), row(MATCHED, 1, 95.0)]
    text = report(rows, TASKS)
    assert "| grown | 2 | 0.01 | 95.50 +- 0.50 |" in text
    assert f"| {MATCHED} | 0.50 +- 0.50 | 1.00 |" in text
