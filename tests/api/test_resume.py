"""A run that is killed at any moment goes on to the weights of one that was not; what cannot go on is refused."""

from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
import torch
from torch import nn

import esper
from actors.verification import Verified, verify_run
from esper.api import attach as attaching
from esper.api.errors import KernelLost, NothingToResume, ResumeMismatch, RunDiverged, RunFinishedAlready
from esper.api.slots import Accepted, Outcome, Rejected
from esper.leyline.v1.policy_pb2 import DecisionMissed
from esper.leyline.v1.run_pb2 import (
    ChangeDeferred,
    CheckpointCommitted,
    RunFacts,
    RunFinished,
    RunResumed,
    RunStarted,
)
from esper.leyline.v1.seed_pb2 import KernelAttached, SeedCommandRefused
from esper.tamiyo.rules.settings import HeuristicSettings
from esper.tolaria.checkpoint import CheckpointBroken
from eventstore.errors import BlobCorrupt, BlobMissing, LogReplaced, StoreUnavailable
from tests.api.scripted_log import (
    AFTER,
    BEFORE,
    DIES_AFTER,
    DIES_BEFORE,
    FAST,
    SPAN,
    STEPS,
    Killed,
    Run,
    ScriptedLog,
    breaks_while_blending,
    narrow,
)

EPOCHS = 8
EVERY_THIRD = msgspec.structs.replace(FAST, checkpoint_every_epochs=3)
ONLY_THE_FIRST = msgspec.structs.replace(FAST, checkpoint_every_epochs=1000, checkpoint_when_kept=False)


@pytest.fixture(scope="module")
def unkilled(tmp_path_factory: pytest.TempPathFactory, loop: Any) -> str:
    """The weights of a run that nobody killed."""
    torch.set_num_threads(1)
    log = ScriptedLog(tmp_path_factory.mktemp("unkilled"), loop)
    return Run(log, settings=EVERY_THIRD).to(EPOCHS).end()


@pytest.mark.parametrize("mode", [DIES_BEFORE, DIES_AFTER])
@pytest.mark.parametrize("which", range(3, 34, 3))
def test_a_run_killed_at_a_write_goes_on_to_the_same_weights(log: ScriptedLog, unkilled: str, which: int, mode: str):
    log.store.script = {which: mode}
    run = Run(log, settings=EVERY_THIRD)
    with pytest.raises(Killed):
        run.to(EPOCHS).end()
    again = Run(log, resume="latest", settings=EVERY_THIRD).to(EPOCHS)
    assert again.end() == unkilled
    again.assert_the_log_is_sound()
    assert not log.of(DecisionMissed, ChangeDeferred)
    (finished,) = log.of(RunFinished)
    assert (finished.summary.germinated, finished.summary.culled, len(finished.summary.kept)) == (1, 0, 1)
    assert "1 seeds germinated" in again.said[-1]


@pytest.mark.parametrize("draw", range(6))
def test_a_run_that_missed_fences_is_executed_again_from_its_log_alone(log: ScriptedLog, draw: int):
    random, broken = Random(draw), draw % 2 == 1
    log.store.script = {which: random.choice([BEFORE, AFTER]) for which in range(3, 40) if random.random() < 0.2}
    each = breaks_while_blending if broken else lambda run: None
    run = Run(log, settings=ONLY_THE_FIRST).to(EPOCHS, each)
    log.store.script = {}
    run.to(EPOCHS + 3, each)
    assert log.of(DecisionMissed)
    again = Run(log, resume=run.session.run_id, settings=ONLY_THE_FIRST)
    assert again.session.epoch == 0
    again.to(EPOCHS + 3, each)
    assert again.weights == run.weights
    assert again.seeds() == run.seeds()
    again.assert_the_log_is_sound()


def test_a_run_killed_after_it_missed_two_fences_repeats_what_is_recorded(log: ScriptedLog):
    run = Run(log, settings=EVERY_THIRD).to(3)
    log.store.down = True
    run.to(5)
    log.store.down = False
    # Epochs 4 and 5 and their missed decisions, then epoch 6; its process dies right then.
    log.store.script = {log.store.appends + 5: DIES_AFTER}
    with pytest.raises(Killed):
        run.to(6)
    again = Run(log, resume="latest", settings=EVERY_THIRD)
    assert again.session.epoch == 3
    again.to(10)
    assert [missed.at.epoch for missed in log.of(DecisionMissed)] == [4, 5]
    again.assert_the_log_is_sound()


def test_a_change_that_failed_in_an_epoch_on_record_is_not_made_when_that_epoch_is_repeated(log: ScriptedLog):
    # The probation of epoch 6 fails; that epoch is recorded without it, and then the process dies.
    log.store.script = {23: BEFORE, 24: DIES_AFTER}
    with pytest.raises(Killed):
        Run(log).to(6)
    again = Run(log, resume="latest")
    assert again.session.epoch == 4
    again.to(9)
    assert again.session.stages[SPAN] == "fossilized"
    again.assert_the_log_is_sound()


def test_what_a_later_gate_asks_for_survives_the_kill(log: ScriptedLog, unkilled: str):
    # Killed while it is watched: the score that the seed is worth was measured by the process that died.
    log.store.script = {27: DIES_BEFORE}
    settings = msgspec.structs.replace(FAST, checkpoint_every_epochs=1)
    with pytest.raises(Killed):
        Run(log, settings=settings).to(6)
    again = Run(log, resume="latest", settings=settings)
    assert again.session.stages[SPAN] == "shadowing"
    assert again.to(EPOCHS).end() == unkilled


def test_a_resumed_run_measures_its_epoch_as_one_that_was_not_killed(log: ScriptedLog):
    run = Run(log, settings=EVERY_THIRD).to(3)
    again = Run(log, resume="latest", settings=EVERY_THIRD)
    assert run.session.stages[SPAN] == "training"
    assert again.session._growth.slots["s0"].state()[1] == run.session._growth.slots["s0"].state()[1]


def test_a_run_can_be_killed_and_resumed_over_and_over(log: ScriptedLog, unkilled: str):
    run = Run(log, settings=EVERY_THIRD)
    for epochs, steps in ((0, 5), (0, STEPS), (2, 3), (4, 1), (7, 0)):
        run.to(epochs).steps(steps)
        run = Run(log, resume="latest", settings=EVERY_THIRD)
    assert run.to(EPOCHS).end() == unkilled
    assert [resumed.attempt for resumed in log.of(RunResumed)] == [2, 3, 4, 5, 6]


def test_a_run_killed_before_its_first_epoch_ended_begins_again(log: ScriptedLog, unkilled: str):
    Run(log, settings=EVERY_THIRD).steps(5)
    again = Run(log, resume="latest", settings=EVERY_THIRD)
    assert (again.session.epoch, again.session.global_step) == (0, 0)
    assert again.to(EPOCHS).end() == unkilled


def test_a_run_whose_end_was_not_recorded_hands_it_over_when_it_is_resumed(log: ScriptedLog, unkilled: str):
    settings = msgspec.structs.replace(EVERY_THIRD, checkpoint_every_epochs=EPOCHS)
    run = Run(log, settings=settings).to(EPOCHS)
    log.store.down = True
    assert run.end() == unkilled
    log.store.down = False
    assert not log.of(RunFinished)
    assert run.session.outbox_depth == 1
    with pytest.raises(RunFinishedAlready):
        Run(log, resume="latest", settings=settings)
    (finished,) = log.of(RunFinished)
    assert finished.summary.model_sha256 == unkilled
    assert not list(log.place.outboxes.iterdir())


def test_a_run_whose_end_was_written_unheard_has_finished(log: ScriptedLog):
    run = Run(log).to(1)
    log.store.script = {log.store.appends + 1: AFTER}
    run.end()
    assert "is not recorded" in run.said[-1]
    with pytest.raises(RunFinishedAlready):
        Run(log, resume="latest")


def by_hand(run: Run) -> list[Outcome]:
    """Drive the slot with commands of which some are refused, at fixed steps."""
    slot, step, told = run.session.slots[SPAN], run.session.global_step, list[Outcome]()
    if step == 3:
        run.session.observe(run.data.train_x[:8])
        told += [slot.cull(), slot.germinate("BP021"), slot.germinate("BP002")]
    if step == 26:
        told.append(
            slot.blend(slot.measured() | {"epochs_in_stage": 9.0, "best_alpha": 1.0, "probe_gain": 1.0}, steps=4)
        )
    if step == 28:
        told.append(slot.fossilize({}))
    return told


def driven(log: ScriptedLog, resume: str | None = None, *, to: int = 5) -> tuple[Run, list[Outcome]]:
    told = list[Outcome]()
    run = Run(log, resume=resume, controller=None, settings=EVERY_THIRD)
    run.to(to, lambda run: told.extend(by_hand(run)))
    return run, told


@pytest.mark.parametrize("killed_at", [0, 2, 3])
def test_commands_by_hand_are_answered_from_the_record_when_repeated(log: ScriptedLog, killed_at: int):
    run, told = driven(log)
    assert [type(outcome) for outcome in told] == [Rejected, Accepted, Rejected, Accepted, Rejected]
    assert len(log.of(SeedCommandRefused)) == 3
    log_again = ScriptedLog(log.place.folder / "killed", log.loop)
    killed, _ = driven(log_again, to=killed_at)
    killed.steps(5, by_hand)
    again, _ = driven(log_again, "latest")
    assert again.weights == run.weights
    assert len(log_again.of(SeedCommandRefused)) == 3
    again.assert_the_log_is_sound()


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"settings": FAST}, "the growth settings"),
        ({"seed": 5}, "seed"),
        ({"controller": None}, "the controller"),
        ({"sites": ["0"]}, "the list of sites"),
        ({"model": nn.ModuleList([nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 2)])}, "the model's class"),
    ],
)
def test_another_script_cannot_go_on_with_a_run(log: ScriptedLog, changes: dict[str, Any], what: str):
    Run(log, settings=EVERY_THIRD).to(1)
    before = len(log.recorded())
    with pytest.raises(ResumeMismatch) as refused:
        Run(log, resume="latest", **({"settings": EVERY_THIRD} | changes))
    assert refused.value.what == what
    assert len(log.recorded()) == before


def test_a_run_that_was_driven_by_hand_is_not_handed_to_the_controller(log: ScriptedLog):
    Run(log, controller=None).to(1)
    with pytest.raises(ResumeMismatch, match="the controller was none and is now heuristic"):
        Run(log, resume="latest")


def test_a_policy_whose_rules_have_changed_does_not_go_on_with_a_run(log: ScriptedLog, monkeypatch: Any):
    Run(log, settings=EVERY_THIRD).to(1)
    monkeypatch.setattr(HeuristicSettings, "version", lambda self: "heuristic-2")
    with pytest.raises(ResumeMismatch, match="the policy's version was heuristic-1"):
        Run(log, resume="latest", settings=EVERY_THIRD)


def test_a_run_from_before_controllers_were_recorded_still_resumes(log: ScriptedLog, monkeypatch: Any):
    told = attaching._facts

    def as_it_was(script: Any) -> RunFacts:
        facts = told(script)
        facts.ClearField("controller")
        facts.ClearField("policy_version")
        return facts

    with monkeypatch.context() as before:
        before.setattr(attaching, "_facts", as_it_was)
        Run(log, settings=EVERY_THIRD).to(4)
    assert not log.of(RunStarted)[0].facts.controller
    assert Run(log, resume="latest", settings=EVERY_THIRD).session.epoch == 3


@pytest.mark.parametrize("wanted", ["latest", "0" * 32, "f"])
def test_there_must_be_a_run_to_resume(log: ScriptedLog, wanted: str):
    with pytest.raises(NothingToResume):
        Run(log, resume=wanted)


def test_other_data_are_found_out(log: ScriptedLog):
    run = Run(log, settings=EVERY_THIRD).to(2)
    data = run.data._replace(train_x=run.data.train_x * 2)
    with pytest.raises(RunDiverged, match="epoch 1: train_loss"):
        Run(log, resume="latest", settings=EVERY_THIRD, data=data).to(1)


@pytest.mark.parametrize("change", [{"created_ns": 1}, {"last_position": 2}, {"first_position": 5}])
def test_a_log_that_is_not_the_checkpoints_own_is_refused_and_not_written_to(log: ScriptedLog, change: dict[str, int]):
    Run(log).to(4)
    log.store.found = msgspec.structs.replace(log.read(log.memory.identity()), **change)
    before = len(log.recorded())
    with pytest.raises(LogReplaced):
        Run(log, resume="latest")
    assert len(log.recorded()) == before


def blob(log: ScriptedLog, digest: str) -> Path:
    return log.place.folder / "blobs" / digest[:2] / digest


@pytest.mark.parametrize("missing", [False, True])
def test_a_damaged_checkpoint_is_refused_and_nothing_is_recorded(log: ScriptedLog, missing: bool):
    Run(log).to(4)
    file = blob(log, log.of(CheckpointCommitted)[-1].checkpoint.manifest_sha256)
    sound = file.read_bytes()
    file.unlink()
    if not missing:
        file.write_bytes(sound[:-1] + b"?")
    with pytest.raises((BlobMissing, BlobCorrupt, CheckpointBroken)):
        Run(log, resume="latest")
    assert not log.of(RunResumed)


def test_a_kernel_that_is_gone_is_named(log: ScriptedLog):
    Run(log).to(4)
    kernel_id = log.of(KernelAttached)[0].kernel_id
    blob(log, kernel_id).unlink()
    with pytest.raises(KernelLost) as lost:
        Run(log, resume="latest")
    assert lost.value.kernel_id == kernel_id


def test_a_log_that_is_away_is_told_at_once_and_the_model_is_free_again(log: ScriptedLog):
    log.store.down = True
    model = narrow()
    with pytest.raises(StoreUnavailable):
        Run(log, model=model)
    log.store.down = False
    assert Run(log, model=esper.unwrap(model)).to(1).session.epoch == 1


@pytest.mark.parametrize("handed_over", [True, False])
def test_a_resumed_run_says_what_was_put_back_and_what_nobody_knows(log: ScriptedLog, handed_over: bool):
    def sampler() -> dict[str, Any]:
        return {"sampler": esper.ResumableSampler(range(10))} if handed_over else {}

    then = sampler()
    run = Run(log, settings=EVERY_THIRD, stateful=then)
    for sampled in then.values():
        next(iter(sampled))
    run.to(3)
    now = sampler()
    again = Run(log, resume="latest", settings=EVERY_THIRD, stateful=now)
    assert f"run {run.session.run_id} goes on after epoch 3" in again.said[0]
    assert ("torch, sampler" in again.said[0]) is handed_over
    assert ("your data loader" in again.said[0]) is not handed_over
    assert all(sampled.drawn == 1 for sampled in now.values())


def test_a_resumed_history_is_verified_as_a_whole(log: ScriptedLog):
    run = Run(log, settings=EVERY_THIRD).to(5)
    run.steps(4)
    again = Run(log, resume="latest", settings=EVERY_THIRD).to(EPOCHS)
    again.end()
    verdict = log.read(verify_run(log.memory, again.session.run_id))
    assert isinstance(verdict, Verified)
    assert verdict.checkpoints == 3
