"""One report per command, judged when its window has passed."""

import pytest

from esper.leyline.v1.enums_pb2 import FieldReportOutcome as Outcome
from esper.leyline.v1.report_pb2 import AbortFieldReports, ObserveFieldReports, OpenFieldReport
from esper.leyline.v1.site_pb2 import Moment
from esper.tamiyo.errors import ReportRuleBroken
from esper.tamiyo.rules.reports import REPORTS, Reports
from tests.tamiyo.epochs import epoch, slot


def opening(command_id: str = "c1", command_type: str = "BeginBlending", *, seed_id: str = "s0", **over):
    facts = {"at": Moment(step=250, epoch=2), "blueprint_id": "BP021", "window_epochs": 3, "score_before": 0.6}
    return OpenFieldReport(command_id=command_id, command_type=command_type, seed_id=seed_id, **{**facts, **over})


def opened(*commands: OpenFieldReport) -> Reports:
    state = REPORTS.initial
    for command in commands:
        state = REPORTS.fold(REPORTS.decide(state, command), state)
    return state


def ended(number: int, *seeds, score: float | None = 0.6) -> ObserveFieldReports:
    return ObserveFieldReports(facts=epoch(number, *seeds, score=score).facts)


def outcomes(state: Reports, command) -> dict[str, str]:
    return {
        event.command_id: Outcome.Name(event.outcome).removeprefix("FIELD_REPORT_OUTCOME_")
        for event in REPORTS.decide(state, command)
    }


def test_a_command_opens_one_report_named_after_it():
    (event,) = REPORTS.decide(REPORTS.initial, opening("c1"))
    assert (event.report_id, event.window_epochs, event.score_before) == ("fr-c1", 3, 0.6)


def test_the_report_on_a_command_that_never_took_effect_is_aborted_and_no_other():
    state = opened(opening("c1"), opening("c2"))
    assert outcomes(state, AbortFieldReports(at=Moment(epoch=3), command_id="c2")) == {"c2": "ABORTED"}
    assert outcomes(state, AbortFieldReports(at=Moment(epoch=3), command_id="c3")) == {}


def test_the_same_command_again_opens_nothing_even_when_its_report_is_written():
    state = opened(opening())
    assert REPORTS.decide(state, opening()) == []
    done = REPORTS.fold(REPORTS.decide(state, ended(5)), state)
    assert REPORTS.decide(done, opening()) == []


@pytest.mark.parametrize("wrong", [{"command_id": ""}, {"window_epochs": 0}])
def test_a_report_that_could_never_be_written_is_refused(wrong):
    with pytest.raises(ReportRuleBroken):
        REPORTS.decide(REPORTS.initial, opening(**wrong))


def test_the_window_is_counted_in_ended_epochs():
    state = opened(opening())
    assert [len(REPORTS.decide(state, ended(number))) for number in (2, 3, 4, 5, 6)] == [0, 0, 0, 1, 1]


def test_a_written_report_is_not_written_again():
    state = opened(opening())
    state = REPORTS.fold(REPORTS.decide(state, ended(5)), state)
    assert REPORTS.decide(state, ended(6)) == []
    assert not state.open


@pytest.mark.parametrize(
    ("contribution", "outcome"),
    [(0.05, "SUCCESS"), (0.0011, "SUCCESS"), (0.001, "NEUTRAL"), (-0.001, "NEUTRAL"), (-0.0011, "REGRESSION")],
)
def test_the_counterfactual_judges_whatever_the_run_did(contribution, outcome):
    command = ended(5, slot("PROBATIONARY", contribution=contribution), score=0.1)
    assert outcomes(opened(opening()), command) == {"c1": outcome}
    (report,) = REPORTS.decide(opened(opening()), command)
    assert report.attribution == "counterfactual"
    assert report.metrics["contribution"] == contribution


@pytest.mark.parametrize(("score", "outcome"), [(0.7, "SUCCESS"), (0.6, "NEUTRAL"), (0.5, "REGRESSION")])
def test_without_a_counterfactual_the_runs_own_change_is_called_confounded(score, outcome):
    command = ended(5, slot("TRAINING"), score=score)
    assert outcomes(opened(opening()), command) == {"c1": outcome}
    assert REPORTS.decide(opened(opening()), command)[0].attribution == "confounded"


@pytest.mark.parametrize("missing", ["before", "after"])
def test_a_run_without_scores_is_judged_neutral_and_says_so(missing):
    before = None if missing == "before" else 0.6
    (report,) = REPORTS.decide(
        opened(opening(score_before=before)), ended(5, score=0.9 if missing == "before" else None)
    )
    assert report.outcome == Outcome.FIELD_REPORT_OUTCOME_NEUTRAL
    assert "no score was measured" in report.notes


def test_another_seed_in_the_same_slot_proves_nothing():
    command = ended(5, slot("PROBATIONARY", blueprint_id="BP002", contribution=0.5), score=0.6)
    assert outcomes(opened(opening()), command) == {"c1": "NEUTRAL"}


def test_a_cull_is_judged_by_the_run_and_not_aborted_by_itself():
    state = opened(opening("grow", "GerminateSeed"), opening("cull", "CullSeed"))
    culled = AbortFieldReports(at=Moment(epoch=2), seed_id="s0", reason="culled")
    assert outcomes(state, culled) == {"grow": "ABORTED"}
    state = REPORTS.fold(REPORTS.decide(state, culled), state)
    assert outcomes(state, ended(5, slot("PROBATIONARY", contribution=-1.0), score=0.7)) == {"cull": "SUCCESS"}


def test_a_cull_leaves_other_seeds_reports_open():
    state = opened(opening("a", seed_id="s0"), opening("b", seed_id="s1"))
    assert outcomes(state, AbortFieldReports(seed_id="s0", reason="culled")) == {"a": "ABORTED"}


def test_the_end_of_the_run_aborts_all_that_is_open():
    state = opened(opening("a"), opening("b", "CullSeed", seed_id="s1"))
    assert outcomes(state, AbortFieldReports(reason="the run ended")) == {"a": "ABORTED", "b": "ABORTED"}
