"""Growth driven through a session: isolation, the whole life of a seed, and refusals."""

from pathlib import Path

import pytest
import torch
from torch import nn

import esper
from esper.api.session import Session
from esper.api.slots import Accepted, Rejected
from tests.api.hosts import digits, narrow, noisy, train_step

SPAN = "0 -> 6"


def hand_driven(model: nn.Module, optimizer: torch.optim.Optimizer, folder: Path) -> Session:
    return esper.attach(
        model, optimizer, evaluate=digits().score, log="memory", folder=folder, controller=None, say=lambda _: None
    )


def losses_of_50_steps(session: Session | None, model: nn.Module, optimizer: torch.optim.Optimizer) -> torch.Tensor:
    torch.manual_seed(3)
    losses: list[torch.Tensor] = []
    for x, y in [batch for _ in range(2) for batch in digits().batches(32)][:50]:
        loss = train_step(model, optimizer, x, y)
        losses.append(loss.detach())
        if session is not None:
            session.step(loss)
    return torch.stack(losses)


def test_a_training_seed_leaves_the_host_as_it_would_have_been_bit_for_bit(tmp_path: Path):
    torch.manual_seed(1)
    bare = noisy()
    bare_losses = losses_of_50_steps(None, bare, torch.optim.AdamW(bare.parameters(), 1e-2))

    torch.manual_seed(1)
    model = esper.wrap(noisy(), sites=[("0", "6"), "4"])
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    owned = {id(parameter) for parameter in model.parameters()}
    with hand_driven(model, optimizer, tmp_path) as session:
        session.observe(digits().train_x[:8])
        assert isinstance(session.slots[SPAN].germinate("BP021", dropout=0.3), Accepted)
        losses = losses_of_50_steps(session, model, optimizer)
        assert session.stages[SPAN] == "training"
        assert session.slots[SPAN].measured()["weights_moved"] == 1.0
        assert session.slots[SPAN].measured()["isolation_violations"] == 0.0
        assert {id(parameter) for parameter in model.parameters()} == owned
        assert sum(len(group["params"]) for group in optimizer.param_groups) == len(owned)
        assert torch.equal(losses, bare_losses)
        for (name, mine), (_, theirs) in zip(model.state_dict().items(), bare.state_dict().items(), strict=True):
            assert torch.equal(mine, theirs), name


def test_a_starved_host_grows_a_seed_that_pays_and_keeps_it(tmp_path: Path):
    data = digits()
    torch.manual_seed(0)
    model = esper.wrap(narrow(3), sites=[("0", "2")])
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    with esper.attach(
        model, optimizer, evaluate=data.score, log="memory", folder=tmp_path, say=lambda _: None
    ) as session:
        while session.epoch < 20 and session.stages["0 -> 2"] != "fossilized":
            for x, y in data.batches():
                session.step(train_step(model, optimizer, x, y))
            session.end_epoch()
    summary = session.summary
    assert summary is not None
    assert [seed.seed_id for seed in summary.kept] == ["s0"]
    assert summary.kept[0].score_with - summary.kept[0].score_without >= 0.01
    assert summary.parameters_after == sum(parameter.numel() for parameter in model.parameters())
    assert summary.parameters_after - summary.parameters_before == summary.kept[0].parameters
    grown = esper.unwrap(model)
    assert data.score(grown)["score"] == summary.score


@pytest.mark.slow
def test_a_seed_culled_by_hand_leaves_nothing_behind(tmp_path: Path):
    torch.manual_seed(1)
    model = esper.wrap(noisy(), sites=[("0", "6")])
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    with hand_driven(model, optimizer, tmp_path) as session:
        session.observe(digits().train_x[:8])
        session.slots[SPAN].germinate("BP002")
        losses_of_50_steps(session, model, optimizer)
        assert isinstance(session.slots[SPAN].cull("a test"), Accepted)
        assert session.stages[SPAN] == "culled"
        assert all(not module._forward_hooks for module in model.modules())
        assert isinstance(session.slots[SPAN].germinate("BP002"), Rejected)


def test_a_gate_that_fails_is_told_with_its_failed_checks(tmp_path: Path):
    torch.manual_seed(1)
    model = esper.wrap(noisy(), sites=[("0", "6")])
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    with hand_driven(model, optimizer, tmp_path) as session:
        session.observe(digits().train_x[:8])
        session.slots[SPAN].germinate("BP002")
        losses_of_50_steps(session, model, optimizer)
        told = session.slots[SPAN].blend(session.slots[SPAN].measured())
        assert isinstance(told, Rejected)
        assert "probe_gain" in told.failed_checks
        assert session.stages[SPAN] == "culled"


def test_a_slot_that_has_not_been_seen_cannot_be_planted(tmp_path: Path):
    model = esper.wrap(noisy(), sites=[("0", "6")])
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    with hand_driven(model, optimizer, tmp_path) as session:
        told = session.slots[SPAN].germinate("BP002")
    assert isinstance(told, Rejected)
    assert "observe" in told.reason
