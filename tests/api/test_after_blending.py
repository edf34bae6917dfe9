"""Who trains a seed that has been blended in: shared, co-adapting or frozen. The log says so, and restarts know it."""

import runpy
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
import torch
from torch import Tensor, nn

import esper
from esper.api.baking import bake
from esper.api.growth import Growth
from esper.api.settings import GrowthSettings, after_blending, changed
from esper.api.slots import Accepted, Rejected
from esper.leyline.v1.seed_pb2 import SeedGerminated
from tests.api.hosts import digits
from tests.api.scripted_log import FAST, SPAN, Run, ScriptedLog
from tests.api.test_forking import forked
from tests.api.test_loading import answers, loaded
from tests.api.test_retraining import Again
from tests.api.test_rollbacks import BLENDING, KEPT, assert_same, state

POLICIES = ("share", "coadapt", "freeze")
END = 9


def settings(policy: str) -> GrowthSettings:
    return msgspec.structs.replace(FAST, after_blending=policy, checkpoint_every_epochs=1)


def kept(run: Run) -> list[nn.Parameter]:
    return list(run.session._growth.slots["s0"].module.parameters())


def copies(tensors: list[nn.Parameter]) -> list[Tensor]:
    return [tensor.detach().clone() for tensor in tensors]


def alike(left: list[Tensor], right: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


@pytest.mark.parametrize("policy", POLICIES)
def test_a_kept_seed_is_trained_as_its_policy_has_it(log: ScriptedLog, policy: str):
    run = Run(log, settings=settings(policy)).to(KEPT)
    assert run.session.stages[SPAN] == "fossilized"
    grouped = {id(own) for group in run.optimizer.param_groups for own in group["params"]}
    assert {id(own) in grouped for own in kept(run)} == {policy == "share"}
    assert {own.requires_grad for own in kept(run)} == {policy != "freeze"}
    assert all(any(own is other for other in run.model.parameters()) for own in kept(run))
    before, host = copies(kept(run)), run.model[0].weight.clone()
    run.steps(3)
    assert alike(copies(kept(run)), before) == (policy == "freeze")
    assert not torch.equal(run.model[0].weight, host)
    (germinated,) = log.of(SeedGerminated)
    assert germinated.after_blending == run.seeds()["s0"].after_blending == after_blending(policy)


def test_a_seed_that_is_to_be_frozen_learns_until_its_probation_and_never_again(log: ScriptedLog):
    run = Run(log, settings=settings("freeze")).to(BLENDING)
    weights: list[tuple[str, list[Tensor]]] = []
    while run.session.stages[SPAN] != "fossilized":
        run.steps(each=lambda run: weights.append((run.session.stages[SPAN], copies(kept(run)))))
        run.session.end_epoch()
    pairs = pairwise(weights)
    moved = {stage: not alike(before, now) for (stage, before), (then, now) in pairs if stage == then}
    assert moved == {"blending": True, "shadowing": False, "probationary": False}
    assert any(own.grad is not None for own in run.model[0].parameters())


@pytest.mark.parametrize("policy", ["coadapt", pytest.param("freeze", marks=pytest.mark.slow)])
def test_a_killed_run_goes_on_to_the_same_weights(log: ScriptedLog, tmp_path: Path, policy: str):
    chosen = settings(policy)
    unkilled = Run(ScriptedLog(tmp_path / "unkilled", log.loop), settings=chosen).to(END).end()
    for epoch, resume in ((5, None), (7, "latest")):
        run = Run(log, resume=resume, settings=chosen).to(epoch)
        run.steps(3)
    assert Run(log, resume="latest", settings=chosen).to(END).end() == unkilled
    assert Again(log, settings=chosen).to(END).identical


@pytest.mark.parametrize(
    ("policy", "then", "snapshots"),
    [
        ("freeze", BLENDING, 5),
        ("coadapt", KEPT, 0),
        pytest.param("freeze", BLENDING, 0, marks=pytest.mark.slow),
        pytest.param("coadapt", KEPT, 5, marks=pytest.mark.slow),
    ],
)
def test_a_rollback_brings_back_what_it_was(log: ScriptedLog, policy: str, then: int, snapshots: int):
    limits = msgspec.structs.replace(FAST.rollback, snapshots=snapshots)
    run = Run(log, settings=msgspec.structs.replace(settings(policy), rollback=limits)).to(then)
    was, frozen = state(run), [own.requires_grad for own in kept(run)]
    run.to(KEPT if then == KEPT else KEPT - 1)
    run.steps(2)
    assert isinstance(run.session.rollback(then), Accepted)
    assert_same(state(run), was)
    assert [own.requires_grad for own in kept(run)] == frozen
    run.to(run.session.epoch + 2)
    run.assert_the_log_is_sound()


def test_a_stabilising_rollback_clears_the_moments_of_a_seed_that_co_adapts(log: ScriptedLog):
    run = Run(log, settings=settings("coadapt")).to(KEPT)
    own = run.session._growth.slots["s0"]._living().seed.optimizer
    assert own.state
    run.session.rollback(mode="stabilise")
    assert not own.state
    before = copies(kept(run))
    run.steps(2)
    assert not alike(copies(kept(run)), before)


@pytest.mark.parametrize("policy", ["freeze", *(pytest.param(one, marks=pytest.mark.slow) for one in POLICIES[:2])])
def test_a_loaded_model_and_a_baked_one_know_it(log: ScriptedLog, tmp_path: Path, policy: str):
    run = Run(log, settings=settings(policy)).to(KEPT)
    model = loaded(log, nn.Sequential(nn.Linear(64, 2), nn.Tanh(), nn.Linear(2, 10)))
    assert torch.equal(answers(model, run), answers(run.model, run))
    flags = {name: own.requires_grad for name, own in model.named_parameters()}
    assert flags == {name: own.requires_grad for name, own in run.model.named_parameters()}
    assert any("esper_s0" in name for name in flags)
    assert (False in flags.values()) == (policy == "freeze")
    plain = esper.unwrap(model)
    assert (False in {own.requires_grad for own in plain.parameters()}) == (policy == "freeze")
    bake(plain, tmp_path / "baked")
    baked = runpy.run_path(str(tmp_path / "baked" / "model.py"))["load"]()
    assert torch.allclose(answers(baked, run), answers(run.model, run), atol=1e-6)


def test_a_fork_can_choose_another_policy(log: ScriptedLog):
    Run(log, settings=settings("share")).to(1)
    made = forked(log, after_blending="freeze")
    run = Run(log, resume=made.run_id, settings=settings("share")).to(KEPT + 1)
    assert run.seeds()["s0"].after_blending == after_blending("freeze")
    assert changed(GrowthSettings(), {"after_blending": "coadapt"}).after_blending == "coadapt"


def test_one_seed_can_be_told_by_hand(log: ScriptedLog):
    run = Run(log, controller=None, settings=settings("share"))
    run.session.observe(digits().train_x[:8])
    slot = run.session.slots[SPAN]
    with pytest.raises(ValueError, match="'never' is none of share, coadapt, freeze"):
        slot.germinate("BP002", after_blending="never")
    assert isinstance(slot.germinate("BP002", after_blending="freeze"), Accepted)
    assert slot.seed.after_blending == after_blending("freeze")


def test_a_scaler_and_an_optimizer_of_a_seed_s_own_do_not_go_together(log: ScriptedLog):
    scaler = {"scaler": torch.amp.GradScaler("cpu")}
    with pytest.raises(ValueError, match='choose "share" or "freeze"'):
        Run(log, controller=None, settings=settings("coadapt"), stateful=scaler)
    run = Run(log, controller=None, settings=settings("share"), stateful=scaler)
    told = run.session.slots[SPAN].germinate("BP002", after_blending="coadapt")
    assert isinstance(told, Rejected)
    assert Growth.unfit(run.session._growth, after_blending("freeze")) == ""
