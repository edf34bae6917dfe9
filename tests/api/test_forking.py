"""A fork goes on from a run's past: as the run did when nothing is changed, and freely from there."""

from random import Random
from typing import Any

import msgspec
import pytest

from actors.forking import Forked, read_past
from actors.purposes import purpose_of
from actors.streams import run_stream
from actors.verification import Verified, verify_run
from esper.api.errors import ForkIncomplete, NothingToFork, ResumeMismatch, SettingUnknown
from esper.api.forking import fork_on
from esper.kasmina.rules.seed import SEED, Seed
from esper.leyline.v1.policy_pb2 import DecisionMade, DecisionMissed
from esper.leyline.v1.report_pb2 import FieldReportOpened, FieldReportWritten
from esper.leyline.v1.run_pb2 import (
    CheckpointCommitted,
    CheckpointExpired,
    EpochEnded,
    GrowthFrozen,
    GrowthThawed,
    RunBranched,
    RunFinished,
    RunForked,
    RunRolledBack,
    RunStarted,
)
from esper.leyline.v1.seed_pb2 import SeedGerminated
from eventstore.store import Recorded
from tests.api.scripted_log import (
    AFTER,
    BEFORE,
    DIES_BEFORE,
    FAST,
    Killed,
    Run,
    ScriptedLog,
    breaks_while_blending,
    poison,
    rolled_back,
)

EPOCHS = 8
EVERY_THIRD = msgspec.structs.replace(FAST, checkpoint_every_epochs=3)
ONLY_THE_FIRST = msgspec.structs.replace(FAST, checkpoint_every_epochs=1000)


def forked(log: ScriptedLog, run: str = "latest", at: int | None = None, **settings: object) -> Forked:
    return log.read(fork_on(log, run, at, {name.replace("__", "."): value for name, value in settings.items()}))


def told(log: ScriptedLog, run_id: str, *kinds: type[Any]) -> list[Recorded]:
    """Return the events of those kinds that a run's own streams hold."""
    return [
        recorded
        for recorded in log.recorded()
        if recorded.stream.aggregate_id.startswith(run_id) and isinstance(recorded.event, kinds)
    ]


def last_position(log: ScriptedLog) -> int:
    return log.recorded()[-1].position


@pytest.mark.parametrize("draw", range(8))
def test_a_fork_at_any_position_ends_as_the_run_did_when_nothing_is_changed(log: ScriptedLog, draw: int):
    original = Run(log, settings=EVERY_THIRD)
    first = told(log, original.session.run_id, RunStarted)[0].position
    weights, events = original.to(EPOCHS).end(), log.recorded()
    made = forked(log, at=Random(draw).randint(first, events[-1].position))
    again = Run(log, resume=made.run_id, settings=EVERY_THIRD)
    assert again.session.epoch == made.epoch <= EPOCHS
    again.to(EPOCHS)
    assert again.end() == weights
    assert [recorded.event for recorded in events] == [recorded.event for recorded in log.recorded()[: len(events)]]
    for run_id in (original.session.run_id, made.run_id):
        assert isinstance(log.read(verify_run(log.memory, run_id)), Verified)


@pytest.mark.parametrize("draw", range(4))
def test_a_past_with_missed_fences_is_repeated_as_it_was(log: ScriptedLog, draw: int):
    random = Random(draw)
    log.store.script = {which: random.choice([BEFORE, AFTER]) for which in range(5, 40) if random.random() < 0.2}
    original = Run(log, settings=ONLY_THE_FIRST).to(EPOCHS, breaks_while_blending)
    log.store.script = {}
    original.to(EPOCHS + 3, breaks_while_blending)
    assert told(log, original.session.run_id, DecisionMissed)
    made = forked(log)
    again = Run(log, resume=made.run_id, settings=ONLY_THE_FIRST)
    assert again.session.epoch == 0
    again.to(EPOCHS + 3, breaks_while_blending)
    assert again.weights == original.weights
    assert again.seeds() == original.seeds()


@pytest.mark.parametrize("draw", range(10))
def test_a_run_that_was_rolled_back_is_forked_anywhere_and_ends_as_it_did(log: ScriptedLog, draw: int):
    original = Run(log, settings=EVERY_THIRD)
    first = told(log, original.session.run_id, RunStarted)[0].position
    weights, last = original.to(EPOCHS, rolled_back).end(), last_position(log)
    one, other = (each.position for each in told(log, original.session.run_id, RunRolledBack))
    # What a rollback comes to takes a few commits: between those too.
    within = [one, one + 1, one + 2, other, other + 1, other + 2]
    made = forked(log, at=within[draw] if draw < len(within) else Random(draw).randint(first, last))
    again = Run(log, resume=made.run_id, settings=EVERY_THIRD).to(EPOCHS, rolled_back)
    assert again.end() == weights
    assert again.seeds() == original.seeds()
    assert len(told(log, made.run_id, RunRolledBack)) == 2
    for run_id in (original.session.run_id, made.run_id):
        assert isinstance(log.read(verify_run(log.memory, run_id)), Verified)


def test_what_a_rollback_abandoned_is_named_by_the_forks_own_positions(log: ScriptedLog):
    original = Run(log, settings=EVERY_THIRD).to(EPOCHS, rolled_back)
    made = forked(log)
    for run_id in (original.session.run_id, made.run_id):
        committed = {one.event.checkpoint.checkpoint_id: one.position for one in told(log, run_id, CheckpointCommitted)}
        for one in told(log, run_id, RunRolledBack):
            assert one.event.abandoned_from == committed[one.event.checkpoint_id] + 1
            assert one.event.abandoned_from <= one.event.abandoned_until + 1 == one.position


def test_a_freeze_and_a_thaw_are_taken_over(log: ScriptedLog):
    run = Run(log, settings=EVERY_THIRD).to(3)
    run.session.freeze("to look")
    run.to(5)
    frozen = forked(log)
    assert Run(log, resume=frozen.run_id, settings=EVERY_THIRD).session._fences.brake.pulled
    run.session.thaw("seen")
    run.to(6)
    made = forked(log, run.session.run_id)
    assert [len(told(log, made.run_id, kind)) for kind in (GrowthFrozen, GrowthThawed)] == [1, 1]
    assert not Run(log, resume=made.run_id, settings=EVERY_THIRD).session._fences.brake.pulled


def test_a_fork_is_a_run_with_a_past_of_its_own(log: ScriptedLog):
    original = Run(log, settings=EVERY_THIRD).to(5)
    at = last_position(log)
    made = forked(log)
    assert (made.parent, made.position, made.epoch) == (original.session.run_id, at, 3)
    for kind in (RunStarted, EpochEnded, CheckpointCommitted, DecisionMade, SeedGerminated):
        ours, theirs = told(log, made.run_id, kind), told(log, made.parent, kind)
        assert len(ours) == len(theirs) > 0
        assert {one.context.run_id for one in ours} == {made.run_id}
    reports = (FieldReportOpened, FieldReportWritten)
    assert len(told(log, made.run_id, *reports)) == len(told(log, made.parent, *reports)) > 0
    causes = {one.event_id: one.stream.aggregate_id for one in told(log, made.run_id, EpochEnded)}
    assert {causes[one.context.causation_id] for one in told(log, made.run_id, DecisionMade)} == {made.run_id}


def test_both_runs_know_of_each_other(log: ScriptedLog):
    Run(log, settings=EVERY_THIRD).to(5)
    made = forked(log)
    (there,), (here,) = told(log, made.parent, RunBranched), told(log, made.run_id, RunForked)
    assert (there.event.run_id, there.event.position) == (made.run_id, made.position)
    assert (here.event.origin.run_id, here.event.origin.position) == (made.parent, made.position)
    assert here.event.origin.at.epoch == 3
    assert there.context.causation_id == here.event_id


def test_a_run_that_was_forked_goes_on_as_if_nothing_had_happened(log: ScriptedLog):
    unforked = Run(ScriptedLog(log.place.folder / "other", log.loop), settings=EVERY_THIRD).to(EPOCHS).end()
    original = Run(log, settings=EVERY_THIRD).to(4)
    forked(log)
    original.to(6)
    again = Run(log, resume=original.session.run_id, settings=EVERY_THIRD).to(EPOCHS)
    assert again.end() == unforked


def test_a_finished_run_is_forked_to_be_trained_on(log: ScriptedLog):
    Run(log, settings=EVERY_THIRD).to(EPOCHS).end()
    made = forked(log)
    again = Run(log, resume=made.run_id, settings=EVERY_THIRD).to(EPOCHS + 2)
    again.end()
    assert len(told(log, made.run_id, RunFinished)) == 1
    assert len(told(log, made.run_id, EpochEnded)) == EPOCHS + 2


def test_a_fork_can_be_forked(log: ScriptedLog):
    weights = Run(log, settings=EVERY_THIRD).to(EPOCHS).end()
    made = forked(log, at=told(log, log.recorded()[0].stream.aggregate_id.partition("-")[0], EpochEnded)[4].position)
    Run(log, resume=made.run_id, settings=EVERY_THIRD).to(5)
    second = forked(log, made.run_id)
    assert second.parent == made.run_id
    assert Run(log, resume=second.run_id, settings=EVERY_THIRD).to(EPOCHS).end() == weights


def test_settings_of_a_fork_are_in_force_although_the_script_does_not_know_them(log: ScriptedLog):
    Run(log, settings=EVERY_THIRD).to(4)
    made = forked(log, policy__min_probation_epochs=50)
    again = Run(log, resume=made.run_id, settings=EVERY_THIRD).to(EPOCHS)
    assert again.session.stages["0 -> 2"] == "probationary"
    assert told(log, made.run_id, RunStarted)[0].event.facts.policy_version != FAST.policy.version()
    stated = msgspec.structs.replace(EVERY_THIRD, policy=msgspec.structs.replace(FAST.policy, min_probation_epochs=50))
    assert Run(log, resume=made.run_id, settings=stated).session.epoch == 6
    with pytest.raises(ResumeMismatch, match="the growth settings"):
        Run(log, resume=made.run_id, settings=FAST)


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("policy.min_epochs", 3, "there is none of that name; there are .*policy.min_epoch,"),
        ("policy", 3, "there is none of that name"),
        ("policy.min_epoch", "soon", "policy.min_epoch"),
    ],
)
def test_only_settings_there_are_can_be_set(log: ScriptedLog, name: str, value: object, why: str):
    Run(log).to(1)
    before = last_position(log)
    with pytest.raises(SettingUnknown, match=why):
        log.read(fork_on(log, "latest", None, {name: value}))
    assert last_position(log) == before


def test_what_moves_seeds_between_checkpoints_can_change_at_a_checkpoint_only(log: ScriptedLog):
    run = Run(log, settings=EVERY_THIRD).to(4)
    with pytest.raises(NothingToFork, match="fork at position") as refused:
        forked(log, seed_learning_rate_ratio=0.5)
    at = told(log, run.session.run_id, CheckpointCommitted)[-1].position
    assert f"position {at}" in str(refused.value)
    made = forked(log, at=at, seed_learning_rate_ratio=0.5)
    assert Run(log, resume=made.run_id, settings=EVERY_THIRD).to(5).session.epoch == 5


@pytest.mark.parametrize(("run", "at"), [("latest", 1), ("f" * 32, None), ("ab", None)])
def test_there_must_be_something_to_fork(log: ScriptedLog, run: str, at: int | None):
    Run(log).to(1)
    before = last_position(log)
    with pytest.raises(NothingToFork):
        forked(log, run, at)
    assert last_position(log) == before


@pytest.mark.parametrize("dies_at", [1, 5, 20])
def test_a_fork_that_was_interrupted_is_not_resumed_and_can_be_made_again(log: ScriptedLog, dies_at: int):
    original = Run(log, settings=EVERY_THIRD).to(5)
    log.store.script = {log.store.appends + dies_at: DIES_BEFORE}
    with pytest.raises(Killed):
        forked(log)
    started = [one.stream.aggregate_id for one in log.recorded() if isinstance(one.event, RunStarted)]
    for run_id in started[1:]:
        with pytest.raises(ForkIncomplete):
            Run(log, resume=run_id, settings=EVERY_THIRD)
        with pytest.raises(NothingToFork, match="interrupted"):
            forked(log, run_id)
    assert not told(log, original.session.run_id, RunBranched)
    made = forked(log, original.session.run_id)
    assert Run(log, resume=made.run_id, settings=EVERY_THIRD).session.epoch == 3


def test_a_frozen_run_is_forked_as_a_frozen_one_and_both_go_on_by_themselves(log: ScriptedLog):
    run = Run(log, settings=EVERY_THIRD).to(4)
    run.session.freeze("to see")
    run.to(5)
    again = Run(log, resume=forked(log).run_id, settings=EVERY_THIRD).to(6)
    assert [event.event.reason for event in told(log, again.session.run_id, GrowthFrozen)] == ["to see"]
    assert again.session.thaw()
    assert told(log, again.session.run_id, GrowthThawed)
    assert not told(log, run.session.run_id, GrowthThawed)
    again.to(7)
    assert isinstance(log.read(verify_run(log.memory, again.session.run_id)), Verified)


def test_every_decision_that_a_trainer_records_has_a_name_that_a_fork_knows(log: ScriptedLog):
    log.store.script = {9: BEFORE, 14: AFTER, 16: BEFORE}
    few = msgspec.structs.replace(EVERY_THIRD, keep_checkpoints=1)
    run = Run(log, settings=few).to(5, breaks_while_blending)
    log.store.script = {}
    again = Run(log, resume=run.session.run_id, settings=few).to(EPOCHS, breaks_while_blending)
    again.session.rollback()
    again.session.freeze("to look")
    again.to(EPOCHS + 1)
    again.session.thaw("seen")
    poison(again)
    again.to(EPOCHS + 4, breaks_while_blending)
    assert log.of(CheckpointExpired)
    past, timelines = log.read(read_past(log, again.session.run_id, None)), 0
    seeds = dict[str, Seed]()
    for commit in past.commits:
        stream = commit[0].stream
        seed = seeds.get(str(stream), SEED.initial)
        assert purpose_of(commit, past.run_id, seed, timelines=timelines), commit[0]
        timelines += isinstance(commit[0].event, RunRolledBack)
        if stream.aggregate == "seed":
            seeds[str(stream)] = SEED.fold((one.event for one in commit), seed)  # type: ignore[misc]
    assert {one.stream.aggregate for commit in past.commits for one in commit} == {"run", "policy", "seed"}
    assert run_stream(past.run_id) in {commit[0].stream for commit in past.commits}
