"""A run goes back to a sound state, whole, whoever asks for it and whenever it dies."""

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from torch import nn

from actors.verification import Verified, verify_run
from esper.api.errors import NothingToGoBackTo, SessionClosed
from esper.api.settings import GrowthSettings, RollbackLimits
from esper.api.slots import Accepted, Rejected
from esper.kasmina.rules.seed import SEED
from esper.leyline.v1.enums_pb2 import RollbackMode, RollbackTier
from esper.leyline.v1.enums_pb2 import SeedLifecycleStage as Stage
from esper.leyline.v1.policy_pb2 import MemoryRebased
from esper.leyline.v1.report_pb2 import FieldReportWritten
from esper.leyline.v1.run_pb2 import (
    ChangeDeferred,
    CheckpointCommitted,
    EpochEnded,
    RollbackCompleted,
    RunRolledBack,
)
from esper.leyline.v1.seed_pb2 import SeedCulled, SeedRebased
from esper.tolaria.encoding import encode
from esper.tolaria.rules.vitals import VitalsLimits
from eventstore.errors import BlobCorrupt
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
    poison,
    rolled_back,
    train_step,
)

EACH = msgspec.structs.replace(FAST, checkpoint_every_epochs=1)
FROM_BLOBS = msgspec.structs.replace(EACH, rollback=RollbackLimits(snapshots=0))
# In the life that FAST describes: the epochs at whose end a seed trains, blends, is watched, and was kept.
TRAINING, BLENDING, SHADOWING, KEPT = 3, 4, 5, 7


def state(run: Run) -> dict[str, Any]:
    """Everything that training goes on from, but for the clocks."""
    slots = {seed_id: slot.state() for seed_id, slot in run.session._growth.slots.items()}
    clocks = {"walk", "steps_done"}
    return copy.deepcopy(
        {
            "model": run.model.state_dict(),
            "optimizer": run.optimizer.state_dict(),
            "random": torch.get_rng_state(),
            "seeds": {seed_id: tensors for seed_id, (tensors, _) in slots.items()},
            "facts": {
                seed_id: {name: value for name, value in facts.items() if name not in clocks}
                for seed_id, (_, facts) in slots.items()
            },
        }
    )


def assert_same(one: Any, other: Any) -> None:
    for part in one:
        assert encode(one[part]) == encode(other[part]), part


def losses(run: Run, count: int = STEPS) -> list[float]:
    """Train *count* steps; return their losses."""
    found = list[float]()
    for x, y in list(run.data.batches(32))[:count]:
        loss = train_step(run.model, run.optimizer, x, y)
        found.append(loss.item())
        run.session.step(loss)
    return found


@pytest.mark.parametrize("settings", [EACH, FROM_BLOBS], ids=["fast", "full"])
@pytest.mark.parametrize("epoch", [TRAINING, BLENDING, SHADOWING, KEPT])
def test_a_restored_run_is_what_it_was_and_trains_on_as_it_did(log: ScriptedLog, epoch: int, settings: GrowthSettings):
    run = Run(log, settings=settings).to(epoch)
    then, seed, alpha = state(run), run.seeds()["s0"], run.session._growth.slots["s0"].alpha
    first = losses(run, 5)
    assert run.session.rollback() == Accepted(log_position(log, RunRolledBack))
    now = run.seeds()["s0"]
    assert_same(state(run), then)
    assert (now.stage, now.generation, now.since_step) == (seed.stage, seed.generation, seed.since_step + 5)
    assert run.session._growth.slots["s0"].alpha == alpha
    assert losses(run, 5) == first
    assert (run.session.global_step, run.session.epoch) == (epoch * STEPS + 10, epoch)
    run.to(epoch + 2)
    run.assert_the_log_is_sound()
    (completed,) = log.of(RollbackCompleted)
    fast = settings is EACH
    assert completed.tier == (RollbackTier.ROLLBACK_TIER_FAST if fast else RollbackTier.ROLLBACK_TIER_FULL)


def log_position(log: ScriptedLog, kind: type) -> int:
    return next(recorded.position for recorded in log.recorded() if isinstance(recorded.event, kind))


def test_a_slot_is_folded_to_what_it_was_later_by_what_has_passed(log: ScriptedLog):
    run = Run(log, settings=EACH).to(BLENDING)
    then = run.seeds()["s0"]
    run.to(KEPT)
    assert isinstance(run.session.rollback(BLENDING), Accepted)
    (rebased,) = log.of(SeedRebased)
    now, steps = run.seeds()["s0"], (KEPT - BLENDING) * STEPS
    assert rebased.to_version == then.version
    assert now.ramp is not None
    assert then.ramp is not None
    assert now.ramp.start_step == then.ramp.start_step + steps
    moved = {"version", "timeline", "rebased_at", "abandoned_generation", "since_step", "since_epoch", "ramp"}
    for name in set(SEED.initial.__struct_fields__) - moved - {"germinated_epoch"}:
        assert getattr(now, name) == getattr(then, name), name
    run.to(KEPT + 4)
    assert run.session.stages[SPAN] == "fossilized"
    run.assert_the_log_is_sound()


def test_a_seed_that_was_kept_since_leaves_the_optimizer_again(log: ScriptedLog):
    run = Run(log, settings=EACH).to(SHADOWING)
    then = state(run)
    run.to(KEPT)
    assert len(run.optimizer.param_groups[0]["params"]) > len(then["optimizer"]["param_groups"][0]["params"])
    run.session.rollback(SHADOWING)
    assert_same(state(run), then)
    assert log.of(RollbackCompleted)[0].tier == RollbackTier.ROLLBACK_TIER_FULL


def test_a_seed_that_germinated_since_is_gone_and_its_number_is_not_given_again(log: ScriptedLog):
    run = Run(log, settings=EACH).to(TRAINING)
    run.session.rollback(1)
    assert run.session.stages[SPAN] == "dormant"
    run.to(KEPT)
    assert run.seeds()["s0"].generation == 2
    run.assert_the_log_is_sound()


@pytest.mark.parametrize("settings", [EACH, FROM_BLOBS], ids=["fast", "full"])
def test_a_loss_that_is_not_a_number_stabilises_the_run(log: ScriptedLog, settings: GrowthSettings):
    run = Run(log, settings=settings).to(TRAINING)
    weights = run.weights
    losses(run, 3)
    poison(run)
    assert run.weights == weights
    assert run.session.stages[SPAN] == "culled"
    assert not run.optimizer.state
    (rolled_back,) = log.of(RunRolledBack)
    assert (rolled_back.mode, rolled_back.reason) == (RollbackMode.ROLLBACK_MODE_STABILISE, "the loss is nan")
    assert rolled_back.last_epoch.at.epoch == TRAINING
    (culled,) = log.of(SeedCulled)
    assert culled.reason == "the run was rolled back: the loss is nan"
    run.to(TRAINING + 6)
    assert all(math.isfinite(ended.facts.train_loss) for ended in log.of(EpochEnded))
    assert run.seeds()["s0"].generation == 2
    run.assert_the_log_is_sound()


def test_a_kept_seed_survives_a_stabilising_rollback_with_its_weights(log: ScriptedLog):
    run = Run(log, settings=EACH).to(KEPT)
    weights = run.weights
    poison(run)
    assert (run.weights, run.session.stages[SPAN]) == (weights, "fossilized")
    run.to(KEPT + 2).end()
    run.assert_the_log_is_sound()


def sgd(parameters: Any, _: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, 0.1, momentum=0.9)


@pytest.mark.parametrize("optimizer", [sgd, torch.optim.AdamW])
def test_a_learning_rate_raised_a_hundredfold_is_survived(log: ScriptedLog, optimizer: Callable[..., Any]):
    torch.manual_seed(0)
    host = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 10))
    run = Run(log, model=host, controller=None, settings=EACH, optimizer=optimizer).to(6)
    rate = run.optimizer.param_groups[0]["lr"]
    before = losses(run)
    run.session.end_epoch()
    run.optimizer.param_groups[0]["lr"] = 100 * rate
    during = list[float]()
    while not log.of(RunRolledBack):
        during += losses(run, 1)
        assert len(during) < 30
    assert max(during) > 10 * max(before)
    assert run.optimizer.param_groups[0]["lr"] == rate
    after = [loss for _ in range(7) for loss in losses(run)]
    assert max(after[:50]) < 0.5 * math.log(10)
    assert max(after[-STEPS:]) < max(before)
    assert len(log.of(RunRolledBack)) == 1


def test_the_governor_goes_further_back_each_time(log: ScriptedLog):
    run = Run(log, settings=EACH).to(4)
    for _ in range(3):
        poison(run)
    assert [event.to.epoch for event in log.of(RunRolledBack)] == [4, 3, 2]


def test_only_a_sound_state_is_blessed(log: ScriptedLog):
    off = msgspec.structs.replace(EACH, vitals=VitalsLimits(governed=False))
    run = Run(log, settings=off).to(2)
    poison(run)
    run.session.end_epoch()
    assert [committed.checkpoint.blessed for committed in log.of(CheckpointCommitted)] == [True, True, True, False]
    assert "the governor is off" in run.said[-1]
    assert isinstance(run.session.rollback(), Accepted)
    assert log.of(RunRolledBack)[0].to.epoch == 2
    with pytest.raises(NothingToGoBackTo):
        run.session.rollback(3)


def test_what_was_asked_for_before_a_rollback_is_aborted_in_its_report(log: ScriptedLog):
    run = Run(log, settings=EACH).to(TRAINING)
    run.session.rollback()
    (report,) = log.of(FieldReportWritten)
    assert report.notes == "the run was rolled back: by hand"
    (memory,) = log.of(MemoryRebased)
    assert [life.seed_id for life in memory.memory.lives] == ["s0"]


def driven(run: Run, to: int = 8) -> Run:
    """Train through a batch that is not a number, and a rollback by hand."""
    return run.to(to, rolled_back)


@pytest.fixture(scope="module")
def unkilled(tmp_path_factory: pytest.TempPathFactory, loop: Any) -> tuple[str, int]:
    """The weights of a driven run that nobody killed, and how often it wrote."""
    torch.set_num_threads(1)
    log = ScriptedLog(tmp_path_factory.mktemp("unkilled"), loop)
    run = driven(Run(log, settings=EACH))
    assert [event.mode for event in log.of(RunRolledBack)] == [
        RollbackMode.ROLLBACK_MODE_STABILISE,
        RollbackMode.ROLLBACK_MODE_RESTORE,
    ]
    run.assert_the_log_is_sound()
    return run.end(), log.store.appends


@pytest.mark.parametrize("mode", [DIES_BEFORE, DIES_AFTER])
@pytest.mark.parametrize("which", range(16, 45, 3))
def test_a_rolled_back_run_killed_at_a_write_goes_on_bit_for_bit(
    log: ScriptedLog, unkilled: tuple[str, int], which: int, mode: str
):
    log.store.script = {which: mode}
    run = Run(log, settings=EACH)
    with pytest.raises(Killed):
        driven(run).end()
    again = driven(Run(log, resume="latest", settings=EACH))
    assert again.end() == unkilled[0]
    again.assert_the_log_is_sound()
    assert len(log.of(RunRolledBack)) == 2
    assert not log.of(ChangeDeferred)


def test_a_rolled_back_run_is_executed_again_from_its_log_alone(log: ScriptedLog):
    settings = msgspec.structs.replace(FAST, checkpoint_every_epochs=4)
    run = driven(Run(log, settings=settings), to=7)
    assert [event.to.epoch for event in log.of(RunRolledBack)] == [0, 4]
    again = Run(log, resume="latest", settings=settings)
    driven(again, to=7)
    assert (again.weights, again.seeds()) == (run.weights, run.seeds())
    again.assert_the_log_is_sound()


@pytest.mark.parametrize("mode", [BEFORE, AFTER])
@pytest.mark.parametrize("which", range(5))
def test_a_rollback_whose_writes_fail_leaves_model_and_log_in_agreement(log: ScriptedLog, which: int, mode: str):
    run = Run(log, settings=EACH).to(BLENDING)
    losses(run, 2)
    log.store.script = {log.store.appends + 1 + which: mode}
    run.session.rollback()
    run.assert_the_model_shows_a_prefix_of_the_log()
    log.store.script = {}
    run.to(BLENDING + 3)
    assert len(log.of(RunRolledBack)) == (0 if (which, mode) == (0, BEFORE) else 1)
    run.assert_the_log_is_sound()
    again = Run(log, resume="latest", settings=EACH)
    assert again.weights == run.weights


def test_a_run_whose_log_is_away_changes_nothing_and_says_so(log: ScriptedLog):
    run = Run(log, settings=EACH).to(2)
    log.store.down = True
    poison(run)
    assert isinstance(run.session.rollback(), Rejected)
    log.store.down = False
    run.session.end_epoch()
    poison(run)
    assert len(log.of(RunRolledBack)) == 1
    run.to(5)
    run.assert_the_log_is_sound()


def test_a_damaged_checkpoint_is_refused_before_anything_is_recorded(log: ScriptedLog):
    run = Run(log, settings=FROM_BLOBS).to(BLENDING)
    damaged(log, log.of(CheckpointCommitted)[-1].checkpoint.manifest_sha256)
    losses(run, 2)
    then = state(run)
    with pytest.raises(BlobCorrupt):
        run.session.rollback()
    assert_same(state(run), then)
    assert not log.of(RunRolledBack)
    assert isinstance(run.session.rollback(BLENDING - 1), Accepted)


def damaged(log: ScriptedLog, digest: str) -> None:
    file: Path = log.place.folder / "blobs" / digest[:2] / digest
    file.write_bytes(file.read_bytes()[:-1] + b"?")


def test_a_rolled_back_history_is_verified_and_a_forged_rebase_is_found(log: ScriptedLog):
    run = Run(log, settings=EACH).to(BLENDING)
    run.session.rollback(TRAINING)
    verdict = log.read(verify_run(log.memory, run.session.run_id))
    assert isinstance(verdict, Verified)
    assert verdict.rollbacks == 1
    (rebased,) = log.of(SeedRebased)
    assert rebased.state.stage == Stage.SEED_STAGE_TRAINING


def test_there_is_no_rollback_outside_the_session(log: ScriptedLog):
    run = Run(log, settings=EACH).to(1)
    run.end()
    with pytest.raises(SessionClosed):
        run.session.rollback()
