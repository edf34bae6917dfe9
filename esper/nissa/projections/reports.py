"""Field reports: what each of Tamiyo's commands did, once its window had passed."""

from collections.abc import Iterable

from esper.leyline.v1.enums_pb2 import FieldReportOutcome
from esper.leyline.v1.report_pb2 import FieldReportOpened, FieldReportWritten
from esper.nissa.projections.declared import Projection, Row
from esper.nissa.recorded import PLACE, RecordedEvent, place
from esper.nissa.words import json_map, word


def _rows(recorded: RecordedEvent) -> Iterable[Row]:
    match recorded.event:
        case FieldReportOpened() as opened:
            score = opened.score_before if opened.HasField("score_before") else None
            yield "reports_opened", {**place(recorded), **_subject(opened), "score_before": score}
        case FieldReportWritten() as written:
            yield (
                "reports_written",
                {
                    **place(recorded),
                    **_subject(written),
                    "outcome": word(FieldReportOutcome, written.outcome),
                    "attribution": written.attribution,
                    "metrics": json_map(written.metrics),
                    "notes": written.notes,
                },
            )
        case _:
            return


def _subject(report: FieldReportOpened | FieldReportWritten) -> dict[str, object]:
    return {
        "report_id": report.report_id,
        "command_id": report.command_id,
        "command_type": report.command_type,
        "seed_id": report.seed_id,
        "blueprint_id": report.blueprint_id,
        "policy_version": report.policy_version,
        "window_epochs": report.window_epochs,
    }


SUBJECT = {
    **PLACE,
    "report_id": "VARCHAR",
    "command_id": "VARCHAR",
    "command_type": "VARCHAR",
    "seed_id": "VARCHAR",
    "blueprint_id": "VARCHAR",
    "policy_version": "VARCHAR",
    "window_epochs": "BIGINT",
}

REPORTS = Projection(
    name="reports",
    version=1,
    tables={
        "reports_opened": {**SUBJECT, "score_before": "DOUBLE"},
        "reports_written": {
            **SUBJECT,
            "outcome": "VARCHAR",
            "attribution": "VARCHAR",
            "metrics": "JSON",
            "notes": "VARCHAR",
        },
    },
    rows=_rows,
)
