"""A wrapped and attached model in which nothing grows is the bare model, bit for bit."""

from pathlib import Path

import pytest
import torch
from torch import nn

import esper
from tests.api.hosts import digits, noisy, train_step

STEPS = 100


def hooks_of(model: nn.Module) -> int:
    tables = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return sum(len(getattr(module, table)) for module in model.modules() for table in tables)


def fresh(seed: int) -> tuple[nn.Sequential, torch.optim.Optimizer]:
    torch.manual_seed(seed)
    model = noisy()
    return model, torch.optim.AdamW(model.parameters(), 1e-2)


def steps(model: nn.Module, optimizer: torch.optim.Optimizer, session: "object | None") -> list[torch.Tensor]:
    torch.manual_seed(7)
    data, seen = digits(), []
    while len(seen) < STEPS:
        for x, y in data.batches(16):
            loss = train_step(model, optimizer, x, y)
            if session is not None:
                assert hooks_of(model) == 0
                session.step(loss)  # type: ignore[attr-defined]
            seen.append(loss.detach())
            if len(seen) == STEPS:
                break
    return seen


@pytest.mark.parametrize("controller", ["heuristic", None])
def test_a_never_germinated_model_equals_the_bare_one_bit_for_bit(tmp_path: Path, controller: str | None):
    bare, bare_optimizer = fresh(1)
    bare_losses = steps(bare, bare_optimizer, None)

    model, optimizer = fresh(1)
    keys = list(model.state_dict())
    wrapped = esper.wrap(model, sites=["0", ("0", "6")])
    assert wrapped is model
    with esper.attach(
        model, optimizer, evaluate=digits().score, log="memory", folder=tmp_path, controller=controller
    ) as session:
        losses = steps(model, optimizer, session)
        assert torch.equal(torch.stack(losses), torch.stack(bare_losses))
        for (name, mine), (other, theirs) in zip(model.state_dict().items(), bare.state_dict().items(), strict=True):
            assert name == other
            assert torch.equal(mine, theirs), name
        for mine, theirs in zip(model.parameters(), bare.parameters(), strict=True):
            assert torch.equal(mine.grad, theirs.grad)  # type: ignore[arg-type]
        assert list(model.state_dict()) == keys
        assert hooks_of(model) == 0


def test_a_model_that_needs_nothing_grows_nothing_and_says_so(tmp_path: Path):
    data, said = digits(), []
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    esper.wrap(model, sites=["0", ("0", "2")])
    with esper.attach(model, optimizer, evaluate=data.score, log="memory", folder=tmp_path, say=said.append) as session:
        for _ in range(3):
            for x, y in data.batches():
                session.step(train_step(model, optimizer, x, y))
            session.end_epoch()
        assert "host is large enough" in session.decisions[0]
    assert hooks_of(model) == 0
    assert session.summary is not None
    assert session.summary.germinated == 0
    assert "nothing grew" in said[-1]
