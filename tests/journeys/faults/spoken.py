"""A projection of the test language: one row for each word that was said."""

from collections.abc import Iterable, Mapping

from eventstore.projection.declare import Catalogue, Row
from eventstore.store import Recorded


class Spoken:
    """Who said what, in order."""

    name = "spoken"
    version = 1
    tables: Mapping[str, Mapping[str, str]] = {
        "spoken": {
            "position": "BIGINT",
            "aggregate": "VARCHAR",
            "aggregate_id": "VARCHAR",
            "version": "BIGINT",
            "event_id": "VARCHAR",
            "commit_id": "VARCHAR",
            "recorded_at_ns": "BIGINT",
            "actor": "VARCHAR",
            "word": "VARCHAR",
        }
    }

    def rows(self, recorded: Recorded) -> Iterable[Row]:
        yield (
            "spoken",
            {
                "position": recorded.position,
                "aggregate": recorded.stream.aggregate,
                "aggregate_id": recorded.stream.aggregate_id,
                "version": recorded.version,
                "event_id": recorded.event_id,
                "commit_id": recorded.commit_id,
                "recorded_at_ns": recorded.context.recorded_at_ns,
                "actor": recorded.context.actor,
                "word": recorded.event.value,
            },
        )


CATALOGUE = Catalogue((Spoken(),))
