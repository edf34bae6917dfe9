"""A run is trained again with its recorded decisions, and compared with what is on record of it."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import torch
from torch import nn

import esper
from actors.rehearsal import Retrained
from esper.api.attach import begin_again
from esper.api.errors import NothingToRetrain, ResumeMismatch, RetrainDiverged
from esper.api.logs import OpenLog
from esper.api.script import Script
from esper.api.session import Session
from esper.api.settings import RollbackLimits
from esper.api.slots import Accepted
from esper.kasmina.rules.seed import Seed
from esper.leyline.v1.policy_pb2 import DecisionMissed
from esper.leyline.v1.run_pb2 import CheckpointCommitted, EpochEnded, RunRolledBack
from esper.leyline.v1.seed_pb2 import SeedCulled
from tests.api.hosts import Digits, train_step
from tests.api.scripted_log import (
    AFTER,
    BEFORE,
    FAST,
    SPAN,
    Run,
    ScriptedLog,
    breaks_while_blending,
    few_digits,
    narrow,
    rolled_back,
)

EPOCHS = 8
EVERY_THIRD = msgspec.structs.replace(FAST, checkpoint_every_epochs=3)


PROMISING = {"r_squared": 0.5, "predicted_loss_decrease": 0.1, "best_alpha": 1.0, "probe_gain": 0.1, "rms_ratio": 1.0}
EACH = msgspec.structs.replace(FAST, checkpoint_every_epochs=1)
FROM_BLOBS = msgspec.structs.replace(EACH, rollback=RollbackLimits(snapshots=0))


class Again:
    """The script of `Run`, executed again against the record."""

    def __init__(self, log: ScriptedLog, run: str = "latest", **changes: Any) -> None:
        self.data: Digits = changes.pop("data", None) or few_digits()
        self.model: nn.Module = esper.wrap(narrow(), sites=[("0", "2")])
        self.optimizer = torch.optim.AdamW(self.model.parameters(), 1e-2)
        told: dict[str, Any] = {"seed": 0, "controller": "heuristic", "settings": EVERY_THIRD, "stateful": {}}
        script = Script(
            model=self.model,
            optimizer=self.optimizer,
            evaluate=self.data.score,
            resume=None,
            data="",
            say=lambda line: None,
            **(told | changes),
        )
        self.session: Session = begin_again(run, script, OpenLog(log, log.loop, lambda: None), log.place)

    def seeds(self) -> dict[str, Seed]:
        return self.session._growth.seeds

    def to(self, epochs: int, each: Callable[["Again"], None] = lambda run: None) -> Retrained:
        assert self.session._retraining is not None
        with self.session:
            self.train(epochs, each)
        return self.session._retraining.result

    def train(self, epochs: int, each: Callable[["Again"], None] = lambda run: None) -> None:
        while self.session.epoch < epochs:
            for x, y in self.data.batches(32):
                self.session.step(train_step(self.model, self.optimizer, x, y))
                each(self)
            self.session.end_epoch()


def test_a_finished_run_is_trained_again_to_the_same_weights_at_every_checkpoint(log: ScriptedLog):
    original = Run(log, settings=EVERY_THIRD).to(EPOCHS)
    weights, before = original.end(), len(log.recorded())
    again = Again(log)
    found = again.to(EPOCHS)
    assert found.identical
    assert (found.epochs, found.digests) == (EPOCHS, len(log.of(CheckpointCommitted)) - 1 + 1)
    assert again.session.summary is not None
    assert again.session.summary.model_sha256 == weights
    assert len(log.recorded()) == before


def test_a_culled_seed_missed_fences_and_resumes_are_trained_again(log: ScriptedLog):
    log.store.script = {9: BEFORE, 14: AFTER, 25: BEFORE}
    run = Run(log, settings=EVERY_THIRD).to(7, breaks_while_blending)
    log.store.script = {}
    Run(log, resume=run.session.run_id, settings=EVERY_THIRD).to(10, breaks_while_blending).end()
    assert log.of(SeedCulled)
    assert log.of(DecisionMissed)
    assert Again(log).to(10, breaks_while_blending).identical


@pytest.mark.parametrize("killed_in", range(3, EPOCHS))
def test_what_a_resumed_run_measured_is_what_training_without_a_kill_measures(log: ScriptedLog, killed_in: int):
    # Stages of several epochs: what is counted per epoch must begin anew within them.
    policy = msgspec.structs.replace(FAST.policy, ramp_epochs=2, min_probation_epochs=3)
    settings = msgspec.structs.replace(FAST, checkpoint_every_epochs=1, policy=policy)
    Run(log, settings=settings).to(killed_in).steps(3)
    Run(log, resume="latest", settings=settings).to(EPOCHS)
    assert Again(log, settings=settings).to(EPOCHS).identical


def test_a_fork_is_trained_again_as_a_whole(log: ScriptedLog):
    from esper.api.forking import fork_on

    Run(log, settings=EVERY_THIRD).to(5)
    made = log.read(fork_on(log, "latest", None, {"policy.min_probation_epochs": 2}))
    Run(log, resume=made.run_id, settings=EVERY_THIRD).to(EPOCHS).end()
    found = Again(log, made.run_id).to(EPOCHS)
    assert found.identical
    assert found.epochs == EPOCHS


def by_hand(run: Any) -> None:
    """Do what is due at the beginning of an epoch, before its first step, and train to its end."""
    slot, measured = run.session.slots[SPAN], {}
    if run.session.epoch:
        measured = {**run.session.facts.seeds[0].measured, **PROMISING}
    told = {
        1: lambda: slot.germinate("BP021"),
        3: lambda: slot.blend(measured, steps=4),
        5: lambda: slot.shadow(measured),
        7: lambda: slot.fossilize(measured),
    }.get(run.session.epoch, lambda: None)()
    assert told is None or isinstance(told, Accepted)
    for x, y in run.data.batches(32):
        run.session.step(train_step(run.model, run.optimizer, x, y))
    run.session.end_epoch()


def test_what_is_done_by_hand_between_two_epochs_is_not_in_the_checkpoint_before_it(log: ScriptedLog):
    run = Run(log, settings=EACH, controller=None)
    for _ in range(EPOCHS):
        by_hand(run)
    assert run.session.stages[SPAN] == "fossilized"
    run.end()
    again = Again(log, settings=EACH, controller=None)
    with again.session:
        for _ in range(EPOCHS):
            by_hand(again)
    assert again.to(EPOCHS).identical


@pytest.mark.parametrize("settings", [EVERY_THIRD, EACH, FROM_BLOBS], ids=["every third", "each", "from blobs"])
def test_a_run_that_was_rolled_back_is_trained_again_through_it(log: ScriptedLog, settings: esper.GrowthSettings):
    run = Run(log, settings=settings).to(EPOCHS, rolled_back)
    weights, before = run.end(), len(log.recorded())
    assert len(log.of(RunRolledBack)) == 2
    again = Again(log, settings=settings)
    found = again.to(EPOCHS, rolled_back)
    assert found.identical
    assert (found.epochs, found.digests) == (EPOCHS, len(log.of(CheckpointCommitted)))
    assert again.session.summary is not None
    assert again.session.summary.model_sha256 == weights
    assert len(log.recorded()) == before


def test_a_rollback_when_trained_again_goes_back_to_what_was_trained_and_not_to_what_was_stored(log: ScriptedLog):
    Run(log, settings=EVERY_THIRD).to(EPOCHS, rolled_back).end()
    fourth = next(
        committed.checkpoint for committed in log.of(CheckpointCommitted) if committed.checkpoint.at.epoch > 0
    )
    blob = log.place.folder / "blobs" / fourth.manifest_sha256[:2] / fourth.manifest_sha256
    blob.unlink()
    assert Again(log).to(EPOCHS, rolled_back).identical


def test_other_data_are_found_out_at_the_first_epoch_that_differs(log: ScriptedLog):
    run = Run(log, settings=EVERY_THIRD).to(4)
    changed = run.data._replace(test_x=run.data.test_x * 2)
    again = Again(log, data=changed)
    with pytest.raises(RetrainDiverged) as refused:
        again.to(4)
    first = next(recorded for recorded in log.recorded() if isinstance(recorded.event, EpochEnded))
    assert (refused.value.position, refused.value.event, refused.value.epoch) == (first.position, "EpochEnded", 1)
    assert refused.value.what in ("score", "metrics.loss")


def test_other_weights_are_found_out_at_the_checkpoint(log: ScriptedLog):
    Run(log, settings=EVERY_THIRD).to(4)
    again = Again(log)
    stray = nn.Parameter(torch.zeros(1))
    again.model.register_parameter("stray", stray)
    with pytest.raises(RetrainDiverged) as refused:
        again.to(4)
    assert (refused.value.event, refused.value.epoch) == ("EpochEnded", 1)
    assert refused.value.what == "model_parameters"


def test_a_weight_that_nothing_measures_is_found_out_by_the_digest(log: ScriptedLog):
    Run(log, settings=EVERY_THIRD).to(4)
    again = Again(log)
    again.model.register_buffer("noise", torch.zeros(1))
    with pytest.raises(RetrainDiverged) as refused:
        again.to(4)
    position = next(
        recorded.position
        for recorded in log.recorded()
        if isinstance(recorded.event, CheckpointCommitted) and recorded.event.checkpoint.at.epoch == 3
    )
    assert (refused.value.position, refused.value.event, refused.value.epoch) == (position, "CheckpointCommitted", 3)
    assert refused.value.what == "the weights"


def test_training_that_ends_early_is_not_called_identical(log: ScriptedLog):
    Run(log, settings=EVERY_THIRD).to(7)
    found = Again(log).to(4)
    assert not found.identical
    assert (found.epochs, found.epochs_on_record, found.digests, found.digests_on_record) == (4, 7, 1, 2)


def test_training_goes_on_beyond_the_record(log: ScriptedLog):
    Run(log, settings=EVERY_THIRD).to(4)
    assert Again(log).to(6).identical


def test_another_script_cannot_train_a_run_again(log: ScriptedLog):
    Run(log, settings=EVERY_THIRD).to(2)
    with pytest.raises(ResumeMismatch):
        Again(log, settings=FAST)


@pytest.mark.parametrize("run", ["latest", "f" * 32, "ab"])
def test_there_must_be_a_run_to_train_again(log: ScriptedLog, run: str):
    with pytest.raises(NothingToRetrain):
        Again(log, run)
