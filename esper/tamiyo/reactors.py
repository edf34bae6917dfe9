"""What Tamiyo does about things that happened: pure functions from an event to commands."""

from esper.leyline.v1.policy_pb2 import DecisionMade
from esper.leyline.v1.report_pb2 import AbortFieldReports, ObserveFieldReports, OpenFieldReport
from esper.leyline.v1.run_pb2 import EpochEnded, RunFinished, RunRolledBack
from esper.leyline.v1.seed_pb2 import SeedCommandRefused, SeedCulled
from esper.tamiyo.rules.heuristic import caused_command
from esper.tamiyo.rules.memory import SCORE
from esper.tamiyo.rules.reports import WINDOW_EPOCHS


def open_field_report(event: DecisionMade, command_id: str) -> list[OpenFieldReport]:
    """A decision that commands something, by the id *command_id*, owes a report on what that did."""
    command = caused_command(event)
    if command is None:
        return []
    return [
        OpenFieldReport(
            at=event.at,
            command_id=command_id,
            command_type=command.DESCRIPTOR.name,
            seed_id=event.seed_id,
            blueprint_id=event.blueprint_id,
            policy_version=event.policy_version,
            window_epochs=WINDOW_EPOCHS,
            score_before=event.inputs.get(SCORE),
        )
    ]


def observe_field_reports(event: EpochEnded) -> list[ObserveFieldReports]:
    """An ended epoch is what report windows are counted in."""
    return [ObserveFieldReports(facts=event.facts)]


def abort_seed_reports(event: SeedCulled, seed_id: str) -> list[AbortFieldReports]:
    """What a culled seed was asked to do can no longer be judged."""
    return [AbortFieldReports(at=event.at, seed_id=seed_id, reason=f"the seed was culled: {event.reason}")]


def abort_refused_report(event: SeedCommandRefused, command_id: str) -> list[AbortFieldReports]:
    """A command that was refused or withdrawn, by the id *command_id*, did nothing that could be judged."""
    return [AbortFieldReports(at=event.at, command_id=command_id, reason=f"it never took effect: {event.reason}")]


def abort_all_reports(event: RunFinished) -> list[AbortFieldReports]:
    """When the run is over, no window that is still open will pass."""
    return [AbortFieldReports(at=event.summary.at, reason="the run ended before the window did")]


def abort_abandoned_reports(event: RunRolledBack) -> list[AbortFieldReports]:
    """What is measured after a rollback says nothing about commands that were given before it."""
    return [AbortFieldReports(at=event.at, reason=f"the run was rolled back: {event.reason}")]
