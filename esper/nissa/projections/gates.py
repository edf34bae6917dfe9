"""Every gate's verdict, and each number it was held against."""

from collections.abc import Iterable

from esper.leyline.v1.enums_pb2 import SeedLifecycleGate
from esper.leyline.v1.seed_pb2 import GateEvaluated
from esper.nissa.projections.declared import Projection, Row
from esper.nissa.recorded import PLACE, RecordedEvent, place, seed_of
from esper.nissa.words import word


def _rows(recorded: RecordedEvent) -> Iterable[Row]:
    match recorded.event:
        case GateEvaluated() as verdict:
            about = {
                **place(recorded),
                "seed_id": seed_of(recorded),
                "gate": word(SeedLifecycleGate, verdict.gate).partition("_")[0].upper(),
                "profile": verdict.profile,
            }
            yield "gate_verdicts", {**about, "passed": verdict.passed, "failed": list(verdict.checks_failed)}
            for name in (*verdict.checks_passed, *verdict.checks_failed):
                yield (
                    "gate_checks",
                    {
                        **about,
                        "input": name,
                        "passed": name in verdict.checks_passed,
                        "measured": verdict.inputs.get(name),
                        "threshold": verdict.thresholds.get(name),
                    },
                )
        case _:
            return


ABOUT = {**PLACE, "seed_id": "VARCHAR", "gate": "VARCHAR", "profile": "VARCHAR"}

GATES = Projection(
    name="gates",
    version=1,
    tables={
        "gate_verdicts": {**ABOUT, "passed": "BOOLEAN", "failed": "VARCHAR[]"},
        "gate_checks": {
            **ABOUT,
            "input": "VARCHAR",
            "passed": "BOOLEAN",
            "measured": "DOUBLE",
            "threshold": "DOUBLE",
        },
    },
    rows=_rows,
)
