"""Field reports: exactly one per command, judged once its window has passed."""

from typing import TypeAlias, assert_never

import msgspec
from msgspec.structs import replace

from esper.leyline.decider import Decider
from esper.leyline.v1.enums_pb2 import FieldReportOutcome as Outcome
from esper.leyline.v1.report_pb2 import (
    AbortFieldReports,
    FieldReportOpened,
    FieldReportWritten,
    ObserveFieldReports,
    OpenFieldReport,
)
from esper.leyline.v1.run_pb2 import EpochFacts
from esper.leyline.v1.seed_pb2 import CullSeed
from esper.leyline.v1.site_pb2 import Moment, SeedObservation
from esper.tamiyo.errors import ReportRuleBroken

ReportCommand: TypeAlias = OpenFieldReport | ObserveFieldReports | AbortFieldReports
ReportEvent: TypeAlias = FieldReportOpened | FieldReportWritten

WINDOW_EPOCHS = 3
NOTICEABLE = 0.001
COUNTERFACTUAL, CONFOUNDED = "counterfactual", "confounded"
CULL = CullSeed.DESCRIPTOR.name


class Reports(msgspec.Struct, frozen=True):
    """A run's field reports: those whose window is open, by report id, and the ids of those that are written."""

    open: dict[str, FieldReportOpened] = {}
    written: frozenset[str] = frozenset()

    def knows(self, report_id: str) -> bool:
        """Tell whether this report was opened at any time."""
        return report_id in self.open or report_id in self.written


def report_id(command_id: str) -> str:
    """Return the id of the one report that a command gets, however often it is redelivered."""
    return f"fr-{command_id}"


def decide(reports: Reports, command: ReportCommand) -> list[ReportEvent]:
    """Answer *command* with the reports that it opens or completes.

    Raises:
        ReportRuleBroken: the report could never be written, for want of a command id or a window.
    """
    match command:
        case OpenFieldReport():
            return [] if reports.knows(report_id(command.command_id)) else [_opened(command)]
        case ObserveFieldReports(facts=facts):
            return [_judged(report, facts) for report in reports.open.values() if _passed(report, facts.at)]
        case AbortFieldReports():
            return [_aborted(report, command) for report in reports.open.values() if _touches(command, report)]
        case _:
            assert_never(command)


def evolve(reports: Reports, event: ReportEvent) -> Reports:
    """Fold one recorded fact into *reports*. Total: history is never refused."""
    match event:
        case FieldReportOpened():
            return replace(reports, open={**reports.open, event.report_id: event})
        case FieldReportWritten():
            still = {name: report for name, report in reports.open.items() if name != event.report_id}
            return Reports(open=still, written=reports.written | {event.report_id})
        case _:
            assert_never(event)


def _opened(command: OpenFieldReport) -> FieldReportOpened:
    if not command.command_id or not command.window_epochs:
        raise ReportRuleBroken("a field report needs the id of its command and a window of at least one epoch")
    return FieldReportOpened(
        at=command.at,
        report_id=report_id(command.command_id),
        command_id=command.command_id,
        command_type=command.command_type,
        seed_id=command.seed_id,
        blueprint_id=command.blueprint_id,
        policy_version=command.policy_version,
        window_epochs=command.window_epochs,
        score_before=command.score_before if command.HasField("score_before") else None,
    )


def _passed(report: FieldReportOpened, now: Moment) -> bool:
    return now.epoch >= report.at.epoch + report.window_epochs


def _judged(report: FieldReportOpened, facts: EpochFacts) -> FieldReportWritten:
    """Judge by the counterfactual where there is one, else by the run's own change; else there is nothing to say."""
    metrics = {"train_loss": facts.train_loss}
    if report.HasField("score_before"):
        metrics["score_before"] = report.score_before
    if facts.HasField("score"):
        metrics["score_after"] = facts.score
    effect, attribution, notes = None, CONFOUNDED, "no score was measured: nothing to judge by"
    if "score_before" in metrics and "score_after" in metrics:
        effect = metrics["score_delta"] = metrics["score_after"] - metrics["score_before"]
        notes = f"the run's score changed by {effect:+.4f} while everything trained on"
    seed = _seed_of(report, facts)
    if seed is not None and "contribution" in seed.measured:
        effect = metrics["contribution"] = seed.measured["contribution"]
        attribution, notes = COUNTERFACTUAL, f"switched off, the model scores {effect:.4f} less"
    return _written(report, facts.at, _outcome(effect), metrics=metrics, attribution=attribution, notes=notes)


def _seed_of(report: FieldReportOpened, facts: EpochFacts) -> SeedObservation | None:
    """Return what was measured of the seed that the report is about; a culled one has no part in the run any more."""
    if report.command_type == CULL:
        return None
    matching = (
        seed for seed in facts.seeds if (seed.seed_id, seed.blueprint_id) == (report.seed_id, report.blueprint_id)
    )
    return next(matching, None)


def _outcome(effect: float | None) -> Outcome:
    if effect is not None and effect > NOTICEABLE:
        return Outcome.FIELD_REPORT_OUTCOME_SUCCESS
    if effect is not None and effect < -NOTICEABLE:
        return Outcome.FIELD_REPORT_OUTCOME_REGRESSION
    return Outcome.FIELD_REPORT_OUTCOME_NEUTRAL


def _touches(command: AbortFieldReports, report: FieldReportOpened) -> bool:
    """A cull ends the reports on its seed, except the one on the cull itself, which the run's score will judge."""
    if command.command_id:
        return report.command_id == command.command_id
    if not command.seed_id:
        return True
    return report.seed_id == command.seed_id and report.command_type != CULL


def _aborted(report: FieldReportOpened, command: AbortFieldReports) -> FieldReportWritten:
    return _written(report, command.at, Outcome.FIELD_REPORT_OUTCOME_ABORTED, notes=command.reason)


def _written(
    report: FieldReportOpened,
    at: Moment,
    outcome: Outcome,
    *,
    metrics: dict[str, float] | None = None,
    attribution: str = "",
    notes: str,
) -> FieldReportWritten:
    return FieldReportWritten(
        at=at,
        report_id=report.report_id,
        command_id=report.command_id,
        command_type=report.command_type,
        seed_id=report.seed_id,
        blueprint_id=report.blueprint_id,
        outcome=outcome,
        metrics=metrics,
        window_epochs=report.window_epochs,
        policy_version=report.policy_version,
        attribution=attribution,
        notes=notes,
    )


REPORTS = Decider(name="report", initial=Reports(), decide=decide, evolve=evolve)
