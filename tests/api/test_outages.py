"""Training goes on: without the log, with a seed that breaks, and after a session was used wrongly."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import torch
from torch import Tensor, nn

import esper
from esper.api.errors import (
    AttachedAlready,
    ControllerUnknown,
    EvaluationInvalid,
    NothingTrained,
    NotWrapped,
    SessionClosed,
)
from esper.api.slots import Accepted, Rejected
from esper.leyline.v1.enums_pb2 import CullInitiator
from esper.leyline.v1.policy_pb2 import DecisionMissed
from esper.leyline.v1.seed_pb2 import GateEvaluated, KernelAttachFailed, SeedCulled, SeedGerminated, SlotReopened
from tests.api.scripted_log import FAST, FULL, HANGS_BEFORE, SPAN, STEPS, Run, ScriptedLog, few_digits, narrow, raises

EACH_EPOCH = msgspec.structs.replace(FAST, decision_wait_s=0.3, checkpoint_every_epochs=1)


def test_without_a_log_training_goes_on_and_growth_waits_for_it(log: ScriptedLog):
    run = Run(log).to(1)
    log.store.down = True
    before = run.weights
    run.to(4)
    assert run.weights != before
    assert run.session.stages[SPAN] == "dormant"
    assert sum("did not answer" in line for line in run.said) == 3
    log.store.down = False
    run.to(10)
    assert [missed.at.epoch for missed in log.of(DecisionMissed)] == [2, 3, 4]
    assert run.session.stages[SPAN] == "fossilized"
    run.assert_the_log_is_sound()


def test_a_log_that_is_full_costs_growth_and_not_the_training(log: ScriptedLog):
    log.store.script = dict.fromkeys(range(6, 12), FULL)
    run = Run(log).to(9)
    assert any("refuses to grow" in line for line in run.said)
    assert log.of(SeedGerminated)
    run.assert_the_log_is_sound()


def test_an_unanswered_checkpoint_holds_training_up_no_longer_than_a_decision(log: ScriptedLog):
    log.store.script = {5: HANGS_BEFORE}
    run = Run(log, settings=EACH_EPOCH).to(2)
    assert any("no checkpoint" in line for line in run.said)


def test_a_kernel_that_never_comes_is_refused_and_the_seed_culled(log: ScriptedLog):
    log.bus.answers = False
    run = Run(log, settings=msgspec.structs.replace(FAST, kernel_wait_s=0.1)).to(3)
    (failed,) = log.of(KernelAttachFailed)
    assert failed.reason == "timeout"
    assert run.session.stages[SPAN] in ("culled", "embargoed")
    run.assert_the_log_is_sound()


@pytest.mark.parametrize("down_at_once", [False, True])
def test_a_run_whose_end_is_not_recorded_says_so_and_keeps_the_model(log: ScriptedLog, down_at_once: bool):
    run = Run(log).to(2)
    log.store.down = True
    run.to(2 if down_at_once else 3)
    run.end()
    assert run.session.summary is not None
    assert "the end of run" in run.said[-1]
    assert "resume" in run.said[-1]


def planted(log: ScriptedLog, module_breaks: Callable[..., Any] | None) -> Run:
    """Return a run whose seed is training, and breaks in its forward pass unless that is None."""
    run = Run(log).to(3)
    run.steps(2)
    assert run.session.stages[SPAN] == "training"
    if module_breaks is not None:
        run.session._growth.slots["s0"].module.forward = module_breaks
    return run


def host_weights(run: Run) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in run.model.parameters()]


def test_a_seed_that_raises_while_it_learns_is_culled_and_the_host_never_felt_it(log: ScriptedLog, tmp_path: Any):
    run = planted(log, raises)
    run.steps(STEPS)
    (culled,) = log.of(SeedCulled)
    assert culled.initiator == CullInitiator.CULL_INITIATOR_RUNTIME
    assert "RuntimeError: a test broke it" in culled.reason
    alone = Run(ScriptedLog(tmp_path / "alone", log.loop), controller=None).to(3)
    alone.steps(2)
    alone.steps(STEPS)
    assert all(map(torch.equal, host_weights(run), host_weights(alone)))


def returns_nan(entry: Tensor) -> Tensor:
    return torch.full((len(entry), 10), torch.nan)


def returns_infinity(entry: Tensor) -> Tensor:
    return torch.full((len(entry), 10), torch.inf)


@pytest.mark.parametrize("breaks", [returns_nan, returns_infinity])
def test_a_seed_that_is_not_finite_while_it_learns_is_culled_and_the_host_never_felt_it(
    log: ScriptedLog, breaks: Callable[..., Any], tmp_path: Any
):
    run = planted(log, breaks)
    run.steps(1)
    (culled,) = log.of(SeedCulled)
    assert (culled.initiator, "non_finite" in culled.reason) == (CullInitiator.CULL_INITIATOR_RUNTIME, True)
    alone = Run(ScriptedLog(tmp_path / "alone", log.loop), controller=None).to(3)
    alone.steps(2)
    alone.steps(1)
    assert all(map(torch.equal, host_weights(run), host_weights(alone)))
    run.steps(STEPS - 3)
    run.to(8)
    assert [seed.generation for seed in log.of(SeedGerminated)] == [1, 2]
    run.assert_the_log_is_sound()


@pytest.mark.parametrize("breaks", [returns_nan, returns_infinity])
def test_a_seed_that_is_not_finite_while_it_is_shadowed_is_culled_at_the_next_fence(
    log: ScriptedLog, breaks: Callable[..., Any]
):
    run = Run(log).to(5)
    assert run.session.stages[SPAN] == "shadowing"
    run.session._growth.slots["s0"].module.forward = breaks
    run.steps(1)
    (culled,) = log.of(SeedCulled)
    assert (culled.initiator, "non_finite" in culled.reason) == (CullInitiator.CULL_INITIATOR_RUNTIME, True)
    run.assert_the_log_is_sound()


@pytest.mark.parametrize(("breaks", "why"), [(raises, "a test broke it"), (returns_nan, "non_finite")])
def test_a_seed_that_breaks_while_it_blends_is_culled_and_its_slot_germinates_again(
    log: ScriptedLog, breaks: Callable[..., Any], why: str
):
    run = Run(log).to(4)
    assert run.session.stages[SPAN] == "blending"
    run.session._growth.slots["s0"].module.forward = breaks
    run.steps(1)
    (culled,) = log.of(SeedCulled)
    assert (culled.initiator, why in culled.reason) == (CullInitiator.CULL_INITIATOR_RUNTIME, True)
    assert all(not module._forward_hooks for module in run.model.modules())
    run.steps(STEPS - 1)
    run.to(10)
    assert [seed.generation for seed in log.of(SeedGerminated)] == [1, 2]
    assert len(log.of(SlotReopened)) == 1
    assert [gate.passed for gate in log.of(GateEvaluated) if gate.gate == 6] == [True]
    run.assert_the_log_is_sound()


def test_a_block_that_fails_leaves_the_run_resumable(log: ScriptedLog):
    run = Run(log, settings=EACH_EPOCH).to(2)
    with pytest.raises(KeyError), run.session:
        raise KeyError("a user's mistake")
    assert "was interrupted" in run.said[-1]
    assert Run(log, resume=run.session.run_id, settings=EACH_EPOCH).session.epoch == 2


def test_a_closed_session_refuses_everything(log: ScriptedLog):
    run = Run(log, controller=None).to(1)
    run.end()
    for call in (
        lambda: run.session.step(torch.zeros(())),
        run.session.end_epoch,
        lambda: run.session.observe(run.data.train_x),
        run.session.slots[SPAN].cull,
    ):
        with pytest.raises(SessionClosed):
            call()


def test_an_epoch_needs_a_step(log: ScriptedLog):
    run = Run(log).to(1)
    with pytest.raises(NothingTrained, match="epoch 2"):
        run.session.end_epoch()
    run.to(3)
    run.assert_the_log_is_sound()


@pytest.mark.parametrize("returned", ["good", None, {"loss": 1.0}, torch.zeros(2), 1j])
def test_what_is_no_score_is_refused_and_the_epoch_can_be_ended_again(log: ScriptedLog, returned: Any):
    data, answers = few_digits(), [returned]
    run = Run(log, evaluate=lambda model: answers.pop() if answers else data.score(model))
    run.steps()
    with pytest.raises(EvaluationInvalid):
        run.session.end_epoch()
    assert run.session.end_epoch().at.epoch == 1
    run.to(7).assert_the_log_is_sound()


def test_an_evaluation_that_raises_is_the_users_to_handle(log: ScriptedLog):
    data, answers = few_digits(), [raises]
    run = Run(log, evaluate=lambda model: (answers.pop() if answers else data.score)(model))
    run.steps()
    with pytest.raises(RuntimeError, match="a test broke it"):
        run.session.end_epoch()
    assert run.model.training
    assert run.session.end_epoch().at.epoch == 1


def test_a_score_that_is_not_a_number_grows_nothing_that_needs_one(log: ScriptedLog):
    run = Run(log, evaluate=lambda model: float("nan")).to(6)
    assert run.session.stages[SPAN] in ("dormant", "training", "culled", "embargoed")
    run.end()
    run.assert_the_log_is_sound()


def test_an_evaluation_with_gradients_is_not_noticed_by_the_training(log: ScriptedLog, tmp_path: Any):
    data = few_digits()

    def with_gradients(model: nn.Module) -> dict[str, float]:
        with torch.enable_grad():
            nn.functional.cross_entropy(model.train()(data.test_x), data.test_y).backward()
        return data.score(model)

    plain = Run(log).to(7)
    other = Run(ScriptedLog(tmp_path / "other", log.loop), evaluate=with_gradients).to(7)
    assert plain.session.stages == other.session.stages
    assert plain.weights == other.weights


def attach(model: nn.Module, folder: Any) -> esper.api.session.Session:  # type: ignore[name-defined]
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    return esper.attach(model, optimizer, evaluate=few_digits().score, log="memory", folder=folder)


def test_a_model_that_was_not_wrapped_cannot_be_attached(tmp_path: Any):
    with pytest.raises(NotWrapped):
        attach(narrow(), tmp_path)


def test_a_controller_that_does_not_exist_is_refused_by_name(tmp_path: Any):
    model = esper.wrap(narrow())
    with pytest.raises(ControllerUnknown, match="no controller 'heuristics'"):
        esper.attach(
            model,
            torch.optim.SGD(model.parameters(), 0.1),
            evaluate=few_digits().score,
            controller="heuristics",
            folder=tmp_path,
        )


def test_a_model_is_in_one_session_at_a_time(tmp_path: Any):
    model = esper.wrap(narrow())
    with attach(model, tmp_path), pytest.raises(AttachedAlready, match="in a session already"):
        attach(model, tmp_path)
    with attach(model, tmp_path):
        pass


def test_a_model_that_carries_seeds_cannot_be_attached_again(log: ScriptedLog, tmp_path: Any):
    run = Run(log).to(7)
    run.end()
    with pytest.raises(AttachedAlready, match="carries seeds"):
        attach(run.model, tmp_path)


def test_a_slot_culled_twice_is_told_that_there_was_nothing_to_do(log: ScriptedLog):
    run = planted(log, None)
    slot = run.session.slots[SPAN]
    assert isinstance(slot.cull(), Accepted)
    assert slot.cull() == Rejected("there was nothing to do: the slot is culled")
