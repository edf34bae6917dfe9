"""What follows from decisions, epochs, culls and the end of a run."""

from esper.leyline.v1.run_pb2 import EpochEnded, RunFinished, RunSummary
from esper.leyline.v1.seed_pb2 import SeedCulled
from esper.leyline.v1.site_pb2 import Moment
from esper.tamiyo.reactors import abort_all_reports, abort_seed_reports, observe_field_reports, open_field_report
from esper.tamiyo.rules.heuristic import policy
from esper.tamiyo.rules.settings import HeuristicSettings
from tests.tamiyo.epochs import epoch, free, offer, pressure

POLICY = policy(HeuristicSettings(min_epoch=1))


def test_a_decision_that_commands_something_owes_a_report():
    (decision,) = POLICY.decide(POLICY.initial, epoch(1, free(), pressures=(pressure(),), offers=(offer(),)))
    (command,) = open_field_report(decision, "c1")
    assert (command.command_id, command.command_type) == ("c1", "GerminateSeed")
    assert (command.seed_id, command.blueprint_id) == ("s0", "BP021")
    assert (command.window_epochs, command.score_before) == (3, 0.6)


def test_a_score_that_was_not_measured_is_not_invented():
    command = epoch(1, free(), pressures=(pressure(),), offers=(offer(),), score=None)
    (decision,) = POLICY.decide(POLICY.initial, command)
    assert not open_field_report(decision, "c1")[0].HasField("score_before")


def test_a_wait_owes_nothing():
    (decision,) = POLICY.decide(POLICY.initial, epoch(1))
    assert open_field_report(decision, "c1") == []


def test_an_ended_epoch_is_shown_to_the_open_reports():
    facts = epoch(4).facts
    assert [command.facts for command in observe_field_reports(EpochEnded(facts=facts))] == [facts]


def test_a_cull_aborts_the_reports_on_that_seed():
    (command,) = abort_seed_reports(SeedCulled(at=Moment(epoch=4), reason="does not pay"), "s1")
    assert (command.seed_id, command.reason, command.at.epoch) == ("s1", "the seed was culled: does not pay", 4)


def test_the_end_of_the_run_aborts_all_reports():
    (command,) = abort_all_reports(RunFinished(summary=RunSummary(at=Moment(epoch=24))))
    assert (command.seed_id, command.at.epoch) == ("", 24)
