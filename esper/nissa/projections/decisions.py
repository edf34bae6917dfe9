"""What Tamiyo decided, on which numbers, and which decisions came too late or never took effect."""

from collections.abc import Iterable

from esper.leyline.v1.enums_pb2 import DecisionAction
from esper.leyline.v1.policy_pb2 import DecisionMade, DecisionMissed, DecisionWithdrawn
from esper.leyline.v1.run_pb2 import ChangeDeferred
from esper.nissa.projections.declared import Projection, Row
from esper.nissa.recorded import PLACE, RecordedEvent, place
from esper.nissa.words import json_map, word


def _rows(recorded: RecordedEvent) -> Iterable[Row]:
    match recorded.event:
        case DecisionMade() as decision:
            yield (
                "decisions_made",
                {
                    **place(recorded),
                    "event_id": recorded.event_id,
                    "action": word(DecisionAction, decision.action),
                    "seed_id": decision.seed_id or None,
                    "blueprint_id": decision.blueprint_id or None,
                    "reason": decision.reason,
                    "inputs": json_map(decision.inputs),
                    "thresholds": json_map(decision.thresholds),
                    "policy_version": decision.policy_version,
                    "observation_id": decision.observation_id,
                },
            )
        case DecisionMissed(reason=reason):
            yield "decisions_missed", {**place(recorded), "reason": reason}
        case DecisionWithdrawn() as withdrawn:
            yield (
                "decisions_withdrawn",
                {
                    **place(recorded),
                    "decision_id": withdrawn.decision_id,
                    "action": word(DecisionAction, withdrawn.action),
                    "seed_id": withdrawn.seed_id,
                    "reason": withdrawn.reason,
                },
            )
        case ChangeDeferred() as late:
            yield (
                "changes_deferred",
                {
                    **place(recorded),
                    "command_id": late.command_id,
                    "seed_id": late.seed_id,
                    "reason": late.reason,
                    "decided_for_step": late.decided_for.step,
                },
            )
        case _:
            return


DECISIONS = Projection(
    name="decisions",
    version=2,
    tables={
        "decisions_made": {
            **PLACE,
            "event_id": "VARCHAR",
            "action": "VARCHAR",
            "seed_id": "VARCHAR",
            "blueprint_id": "VARCHAR",
            "reason": "VARCHAR",
            "inputs": "JSON",
            "thresholds": "JSON",
            "policy_version": "VARCHAR",
            "observation_id": "VARCHAR",
        },
        "decisions_missed": {**PLACE, "reason": "VARCHAR"},
        "decisions_withdrawn": {
            **PLACE,
            "decision_id": "VARCHAR",
            "action": "VARCHAR",
            "seed_id": "VARCHAR",
            "reason": "VARCHAR",
        },
        "changes_deferred": {
            **PLACE,
            "command_id": "VARCHAR",
            "seed_id": "VARCHAR",
            "reason": "VARCHAR",
            "decided_for_step": "BIGINT",
        },
    },
    rows=_rows,
)
