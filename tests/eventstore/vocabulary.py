"""A small language for testing a store that knows nothing of seeds."""

import time
from uuid import uuid4

from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import BytesValue, Int64Value, StringValue

from eventstore.store import CommandRecord, Context, Recorded, StreamName

SEED = StreamName("seed", "r1-s0")
OTHER = StreamName("run", "r1")


class Types:
    def __init__(self, *kinds: type[Message]) -> None:
        self._kinds = {kind.DESCRIPTOR.full_name: kind for kind in kinds}

    def lookup(self, name: str) -> tuple[type[Message], int] | None:
        kind = self._kinds.get(name)
        return (kind, 1) if kind else None

    def version(self, event: Message) -> int:
        return 1

    def upcaster(self, name: str, schema_version: int) -> None:
        return None


TYPES = Types(StringValue, Int64Value, BytesValue)
FEWER_TYPES = Types(Int64Value)


def command_id() -> str:
    return uuid4().hex


def context(command: str = "") -> Context:
    return Context(
        command_id=command or command_id(),
        command_type="test.Say",
        recorded_at_ns=1_000,
        actor="tester",
        run_id="r1",
        causation_id="c" * 32,
    )


def said(*words: str) -> list[StringValue]:
    return [StringValue(value=word) for word in words]


def words(events: "tuple[Recorded, ...] | list[Recorded]") -> list[str]:
    return [event.event.value for event in events]


def command(
    word: str = "grow",
    *,
    target: str = "tezzeret",
    issued_as: str = "",
    deadline_ns: int = 0,
    issued_at_ns: int | None = None,
) -> CommandRecord:
    return CommandRecord(
        command_id=issued_as or command_id(),
        target=target,
        command=StringValue(value=word),
        stream=SEED,
        issued_at_ns=time.time_ns() if issued_at_ns is None else issued_at_ns,
        deadline_ns=deadline_ns,
        issued_by="tester",
    )
