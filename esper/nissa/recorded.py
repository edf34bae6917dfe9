"""A recorded event as projections see it, and the facts every row shares."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cache
from typing import Protocol

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from esper.leyline.v1.site_pb2 import Moment

UNIX_START = datetime(1970, 1, 1)
RUN_AGGREGATES = ("run", "policy", "report")
FACT_FIELDS = ("facts", "summary", "checkpoint")


class Stream(Protocol):
    """Which aggregate an event belongs to."""

    @property
    def aggregate(self) -> str: ...

    @property
    def aggregate_id(self) -> str: ...


class Origin(Protocol):
    """Who decided, upon what, and when."""

    @property
    def command_id(self) -> str: ...

    @property
    def command_type(self) -> str: ...

    @property
    def recorded_at_ns(self) -> int: ...

    @property
    def actor(self) -> str: ...

    @property
    def causation_id(self) -> str: ...

    @property
    def correlation_id(self) -> str: ...

    @property
    def run_id(self) -> str: ...

    @property
    def traceparent(self) -> str: ...


class RecordedEvent(Protocol):
    """One event with its place in the log; what an event store calls recorded satisfies it."""

    @property
    def position(self) -> int: ...

    @property
    def index(self) -> int: ...

    @property
    def stream(self) -> Stream: ...

    @property
    def version(self) -> int: ...

    @property
    def event_id(self) -> str: ...

    @property
    def event(self) -> Message: ...

    @property
    def commit_id(self) -> str: ...

    @property
    def context(self) -> Origin: ...


def run_of(recorded: RecordedEvent) -> str:
    """Return the run an event belongs to, or on whose behalf it happened; empty if there is none."""
    aggregate, identity = recorded.stream.aggregate, recorded.stream.aggregate_id
    if aggregate in RUN_AGGREGATES:
        return identity
    if aggregate == "seed":
        return identity.rpartition("-")[0]
    return recorded.context.run_id


def seed_of(recorded: RecordedEvent) -> str | None:
    """Return the growth slot an event is about, if it is about one."""
    if recorded.stream.aggregate == "seed":
        return recorded.stream.aggregate_id.rpartition("-")[2]
    named = _field(recorded.event, "seed_id")
    return named if isinstance(named, str) and named else None


def moment_of(event: Message) -> Moment | None:
    """Return when in the training *event* takes effect, if it says so itself or in the facts it carries."""
    path = _way_to_moment(event.DESCRIPTOR)
    found: Message = event
    for name in path:
        found = getattr(found, name)
    return found if isinstance(found, Moment) else None


@cache
def _way_to_moment(kind: Descriptor) -> tuple[str, ...]:
    """Return the fields that lead from a message of *kind* to its moment; none if it has none."""
    messages = {field.name: field.message_type for field in kind.fields if field.message_type is not None}
    if messages.get("at") is Moment.DESCRIPTOR:
        return ("at",)
    carried = next((name for name in FACT_FIELDS if name in kind.fields_by_name), "")
    onward = _way_to_moment(messages[carried]) if carried in messages else ()
    return (carried, *onward) if onward else ()


def _field(event: Message, name: str) -> object:
    return getattr(event, name) if name in event.DESCRIPTOR.fields_by_name else None


def recorded_at(recorded: RecordedEvent) -> datetime:
    """Return the wall time of the commit, UTC, to the microsecond."""
    return UNIX_START + timedelta(microseconds=recorded.context.recorded_at_ns // 1000)


def place(recorded: RecordedEvent) -> dict[str, object]:
    """Return the columns that every fact table begins with; see `PLACE`."""
    moment = moment_of(recorded.event)
    return {
        "position": recorded.position,
        "index": recorded.index,
        "run_id": run_of(recorded),
        "recorded_at": recorded_at(recorded),
        "step": None if moment is None else moment.step,
        "epoch": None if moment is None else moment.epoch,
    }


PLACE: Mapping[str, str] = {
    "position": "BIGINT",
    "index": "BIGINT",
    "run_id": "VARCHAR",
    "recorded_at": "TIMESTAMP",
    "step": "BIGINT",
    "epoch": "BIGINT",
}
