"""What becomes of telemetry in SQL: one row for each value, in tables that are no record and expire."""

import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from esper.leyline.v1.telemetry_pb2 import TelemetryPacket
from esper.nissa.questions import Question, questions

NAME = "telemetry"
POINTS, REFUSED = "points", "refused"
TABLES: Mapping[str, Mapping[str, str]] = {
    POINTS: {
        "run_id": "VARCHAR",
        "subsystem": "VARCHAR",
        "metric": "VARCHAR",
        "about": "VARCHAR",
        "unit": "VARCHAR",
        "step": "UBIGINT",
        "epoch": "UINTEGER",
        "measured_at": "TIMESTAMP",
        "value": "DOUBLE",
    },
    # Messages that were not believed, by the reason: no signature, a wrong one, no packet.
    REFUSED: {"verdict": "VARCHAR", "messages": "UBIGINT", "heard_at": "TIMESTAMP"},
}
KEPT_DAYS = 30.0
ROWS_AT_MOST = 10_000_000

Point = tuple[str, str, str, str, str, int, int, datetime, float]


def views() -> tuple[Question, ...]:
    """Return the named questions about telemetry: `telemetry.latest`, `telemetry.step_time`."""
    return tuple(
        Question(f"{NAME}.{question.name}", question.help, question.sql) for question in questions("measured_views")
    )


def points(packet: TelemetryPacket) -> Iterator[Point]:
    """Yield a row for each value of *packet* that was measured."""
    moments = [moment(at_ns) for at_ns in packet.measured_at_ns]
    for series in packet.metrics:
        for step, epoch, at, value in zip(packet.steps, packet.epochs, moments, series.values, strict=False):
            if not math.isnan(value):
                yield (
                    packet.run_id,
                    packet.source_subsystem,
                    series.name,
                    series.about,
                    series.unit,
                    step,
                    epoch,
                    at,
                    value,
                )


def moment(at_ns: int) -> datetime:
    """Return *at_ns* as UTC without a zone, as TIMESTAMP columns have it."""
    return datetime.fromtimestamp(at_ns / 1e9, UTC).replace(tzinfo=None)
