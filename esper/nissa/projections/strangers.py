"""Enum numbers that a later version wrote and this one has no name for: kept as numbers, and counted here."""

from collections.abc import Iterable

from esper.leyline.strangers import unknown_numbers
from esper.nissa.projections.declared import Projection, Row
from esper.nissa.recorded import PLACE, RecordedEvent, place


def _rows(recorded: RecordedEvent) -> Iterable[Row]:
    for field, number in unknown_numbers(recorded.event):
        yield (
            "unknown_enum_numbers",
            {**place(recorded), "type": recorded.event.DESCRIPTOR.name, "field": field, "number": number},
        )


STRANGERS = Projection(
    name="strangers",
    version=1,
    tables={"unknown_enum_numbers": {**PLACE, "type": "VARCHAR", "field": "VARCHAR", "number": "BIGINT"}},
    rows=_rows,
)
