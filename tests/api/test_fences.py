"""No event, no mutation - whichever write fails, and however."""

import msgspec
import pytest

from esper.leyline.v1.enums_pb2 import FieldReportOutcome
from esper.leyline.v1.policy_pb2 import DecisionMade, DecisionMissed, DecisionWithdrawn
from esper.leyline.v1.report_pb2 import FieldReportWritten
from esper.leyline.v1.run_pb2 import ChangeDeferred
from esper.leyline.v1.seed_pb2 import (
    SeedBlendingStarted,
    SeedCommandRefused,
    SeedCulled,
    SeedFossilized,
    SeedGerminated,
)
from tests.api.scripted_log import (
    AFTER,
    BEFORE,
    FAST,
    HANGS_AFTER,
    HANGS_BEFORE,
    LATE,
    RELEASES,
    SPAN,
    STEPS,
    Run,
    ScriptedLog,
    breaks_while_blending,
)

IMPATIENT = msgspec.structs.replace(FAST, decision_wait_s=0.3)
EPOCHS, HEALTHY_EPOCHS = 6, 2
# By the number of their append, on a run on which nothing fails. The first two begin it.
GERMINATION, ATTACHMENT, BLENDING, CHECKPOINT, SHADOWING, PROBATION, FOSSILIZATION = 8, 9, 15, 16, 22, 23, 27
AT_AN_EPOCHS_END = (GERMINATION, BLENDING, SHADOWING, FOSSILIZATION)
AFTER_A_STEP = (ATTACHMENT, PROBATION)
CULL, GERMINATION_AGAIN = 17, 31


def survives(log: ScriptedLog, script: dict[int, str], *, broken: bool = False) -> Run:
    """Train through failing writes, then with a sound log; what is checked is checked after every step."""
    log.store.script = script
    each = breaks_while_blending if broken else lambda run: None
    run = Run(log, settings=IMPATIENT).to(EPOCHS, each)
    log.store.script = {}
    run.to(run.session.epoch + HEALTHY_EPOCHS, each)
    run.assert_the_log_is_sound()
    return run


def test_a_run_on_a_sound_log_grows_without_a_missed_decision(log: ScriptedLog):
    run = survives(log, {})
    assert log.of(SeedFossilized)
    assert not log.of(DecisionMissed, ChangeDeferred)
    assert run.session.stages[SPAN] == "fossilized"


@pytest.mark.parametrize("mode", [BEFORE, AFTER])
@pytest.mark.parametrize("which", range(3, FOSSILIZATION + 1))
def test_a_write_that_fails_leaves_model_and_log_in_agreement(log: ScriptedLog, which: int, mode: str):
    survives(log, {which: mode})


@pytest.mark.parametrize("mode", [HANGS_BEFORE, HANGS_AFTER])
@pytest.mark.parametrize("which", [GERMINATION, CHECKPOINT, ATTACHMENT, BLENDING, SHADOWING, FOSSILIZATION])
def test_a_write_that_is_never_answered_leaves_model_and_log_in_agreement(log: ScriptedLog, which: int, mode: str):
    survives(log, {which: mode})


@pytest.mark.parametrize("mode", [BEFORE, AFTER])
@pytest.mark.parametrize("which", range(CULL, GERMINATION_AGAIN + 1, 3))
def test_a_culled_seeds_slot_comes_back_whichever_write_fails(log: ScriptedLog, which: int, mode: str):
    survives(log, {which: mode}, broken=True)
    assert log.of(SeedCulled)


@pytest.mark.parametrize("which", AT_AN_EPOCHS_END)
def test_a_decision_that_was_written_unheard_is_deferred_by_an_epoch(log: ScriptedLog, which: int):
    survives(log, {which: AFTER})
    (deferred,), (missed,) = log.of(ChangeDeferred), log.of(DecisionMissed)
    assert missed.at == deferred.decided_for
    assert (deferred.at.step, deferred.at.epoch) == (missed.at.step + STEPS, missed.at.epoch)


@pytest.mark.parametrize("which", AFTER_A_STEP)
def test_a_change_that_was_written_unheard_is_deferred_to_the_end_of_its_epoch(log: ScriptedLog, which: int):
    survives(log, {which: AFTER})
    (deferred,) = log.of(ChangeDeferred)
    assert not log.of(DecisionMissed)
    assert deferred.at.epoch == deferred.decided_for.epoch
    assert deferred.at.step == (deferred.at.epoch + 1) * STEPS


def test_a_write_that_arrives_after_it_was_looked_for_is_shown_all_the_same(log: ScriptedLog):
    # The blending fails; at the next epoch's end it is looked for in vain, and arrives while Tamiyo decides anew.
    run = survives(log, {BLENDING: LATE, BLENDING + 2: RELEASES})
    assert len(log.of(SeedBlendingStarted)) == 1
    assert run.session.stages[SPAN] in ("shadowing", "probationary", "fossilized")


def test_a_write_that_arrives_when_nothing_else_is_asked_is_found_at_the_epochs_end(log: ScriptedLog):
    log.store.script = {PROBATION: LATE}
    run = Run(log, settings=IMPATIENT).to(5)
    assert run.session.stages[SPAN] == "shadowing"
    run.steps()
    log.read(log.store.release())
    run.session.end_epoch()
    assert run.session.stages[SPAN] == "fossilized"
    run.assert_the_log_is_sound()


@pytest.mark.parametrize("which", AT_AN_EPOCHS_END)
def test_a_decision_whose_command_was_lost_is_withdrawn_and_costs_nobody_anything(log: ScriptedLog, which: int):
    survives(log, {which: BEFORE})
    made, (withdrawn,) = log.of(DecisionMade), log.of(DecisionWithdrawn)
    acted = [decision for decision in made if decision.action == withdrawn.action and decision.seed_id == "s0"]
    lost, again = acted[:2]
    assert (withdrawn.at, withdrawn.blueprint_id) == (lost.at, lost.blueprint_id)
    # Asked for again an epoch later, of the same blueprint: nothing is held against it, or against the seed.
    assert (again.at.epoch, again.blueprint_id) == (lost.at.epoch + 1, lost.blueprint_id)
    assert not any("lost" in decision.inputs for decision in made)


def test_a_report_on_a_command_that_was_lost_is_aborted_and_not_judged(log: ScriptedLog):
    survives(log, {GERMINATION: BEFORE})
    reports = [report for report in log.of(FieldReportWritten) if report.command_type == "GerminateSeed"]
    assert FieldReportOutcome.Name(reports[0].outcome) == "FIELD_REPORT_OUTCOME_ABORTED"
    assert "withdrawn" in reports[0].notes
    assert len(reports) == 2
    assert FieldReportOutcome.Name(reports[1].outcome) != "FIELD_REPORT_OUTCOME_ABORTED"


def test_a_command_that_arrives_while_it_is_withdrawn_is_not_withdrawn(log: ScriptedLog):
    # Appends after the germination that was late: the missed decision, then its withdrawal - and here it arrives.
    survives(log, {GERMINATION: LATE, GERMINATION + 2: RELEASES})
    assert len(log.of(SeedGerminated)) == 1
    assert not log.of(DecisionWithdrawn)


def test_tamiyo_is_shown_a_late_germination_and_does_not_decide_it_again(log: ScriptedLog):
    survives(log, {GERMINATION: AFTER})
    assert [made.action for made in log.of(DecisionMade) if made.HasField("germinate")] == [2]
    assert not log.of(SeedCommandRefused)
