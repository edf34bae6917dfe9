"""Every event as one row, with its whole content as JSON."""

from collections.abc import Iterable

from google.protobuf.json_format import MessageToJson

from esper.nissa.projections.declared import Projection, Row
from esper.nissa.recorded import PLACE, RecordedEvent, place, seed_of


def _rows(recorded: RecordedEvent) -> Iterable[Row]:
    context = recorded.context
    payload = MessageToJson(recorded.event, preserving_proto_field_name=True, sort_keys=True, indent=None)
    yield (
        "events",
        {
            **place(recorded),
            "stream": f"{recorded.stream.aggregate}.{recorded.stream.aggregate_id}",
            "aggregate": recorded.stream.aggregate,
            "aggregate_id": recorded.stream.aggregate_id,
            "version": recorded.version,
            "type": recorded.event.DESCRIPTOR.name,
            "seed_id": seed_of(recorded),
            "actor": context.actor,
            "event_id": recorded.event_id,
            "commit_id": recorded.commit_id,
            "command_id": context.command_id,
            "command_type": context.command_type,
            "causation_id": context.causation_id,
            "correlation_id": context.correlation_id,
            "traceparent": context.traceparent,
            "payload": payload,
        },
    )


EVENTS = Projection(
    name="events",
    version=1,
    tables={
        "events": {
            **PLACE,
            "stream": "VARCHAR",
            "aggregate": "VARCHAR",
            "aggregate_id": "VARCHAR",
            "version": "BIGINT",
            "type": "VARCHAR",
            "seed_id": "VARCHAR",
            "actor": "VARCHAR",
            "event_id": "VARCHAR",
            "commit_id": "VARCHAR",
            "command_id": "VARCHAR",
            "command_type": "VARCHAR",
            "causation_id": "VARCHAR",
            "correlation_id": "VARCHAR",
            "traceparent": "VARCHAR",
            "payload": "JSON",
        }
    },
    rows=_rows,
)
