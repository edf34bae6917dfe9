"""Tamiyo's field reports, kept in step with what is recorded of a run."""

from collections.abc import Sequence

from google.protobuf.message import Message

from actors.streams import report_stream, seed_id_of, seed_stream
from actors.voice import Voice
from esper.leyline.v1.policy_pb2 import DecisionMade
from esper.leyline.v1.run_pb2 import EpochEnded, RunFinished, RunRolledBack
from esper.leyline.v1.seed_pb2 import SeedCommandRefused, SeedCulled
from esper.tamiyo.reactors import (
    abort_abandoned_reports,
    abort_all_reports,
    abort_refused_report,
    abort_seed_reports,
    observe_field_reports,
    open_field_report,
)
from esper.tamiyo.rules.reports import REPORTS
from eventstore.store import Recorded


class Reporting:
    """Sends what the reactors answer to an event. Reacting to the same event again records nothing twice."""

    def __init__(self, voice: Voice) -> None:
        self._voice = voice

    async def react(self, recorded: Recorded) -> None:
        """Send what Tamiyo's reactors answer to one recorded event to her field reports."""
        for index, command in enumerate(self._reports_on(recorded)):
            await self._voice.tell(
                REPORTS,
                report_stream(self._voice.run_id),
                command,
                f"react/{recorded.event_id}/{index}",
                causation=recorded.event_id,
                actor="tamiyo",
            )

    def _reports_on(self, recorded: Recorded) -> Sequence[Message]:
        match recorded.event:
            case DecisionMade() as event:
                return open_field_report(event, self._command_of(event.seed_id, recorded.event_id))
            case EpochEnded() as event:
                return observe_field_reports(event)
            case SeedCulled() as event:
                return abort_seed_reports(event, seed_id_of(recorded.stream))
            case SeedCommandRefused() as event:
                seed_id = seed_id_of(recorded.stream)
                return abort_refused_report(event, self._command_of(seed_id, recorded.context.causation_id))
            case RunRolledBack() as event:
                return abort_abandoned_reports(event)
            case RunFinished() as event:
                return abort_all_reports(event)
            case _:
                return ()

    def _command_of(self, seed_id: str, decision_id: str) -> str:
        return self._voice.command_id(seed_stream(self._voice.run_id, seed_id), decided(decision_id))


def decided(decision_id: str) -> str:
    """Return the purpose of the command that a decision asks for, by the decision's event id."""
    return f"decision/{decision_id}"
