"""How far behind the readers of each stream are: what was not delivered yet, plus what was and is not settled."""

from typing import Any

import msgspec

from eventstore.errors import StoreUnavailable
from eventstore.oona.jetstream import Answer, JetStream, Refused
from eventstore.oona.streams import COMMANDS, DEAD_LETTERS, EMERGENCY, EVENTS, TELEMETRY

WATCHED = (EVENTS, COMMANDS, EMERGENCY, DEAD_LETTERS, TELEMETRY)


class Lag(msgspec.Struct, frozen=True, kw_only=True):
    """One durable reader and how much it has before it. A stream's length says nothing about that."""

    stream: str
    reader: str
    depth: int

    @property
    def name(self) -> str:
        """The reader and its stream in one word."""
        return f"{self.stream}/{self.reader}"


class _Consumer(msgspec.Struct, frozen=True):
    config: dict[str, Any]
    num_pending: int = 0
    num_ack_pending: int = 0


class _Consumers(Answer, frozen=True):
    total: int = 0
    offset: int = 0
    consumers: tuple[_Consumer, ...] = ()


async def lags(jetstream: JetStream) -> tuple[Lag, ...]:
    """Return the lag of every durable reader, the farthest behind first.

    Raises:
        StoreUnavailable: the server did not answer.
    """
    found = [lag for stream in WATCHED for lag in await _of_stream(jetstream, stream)]
    return tuple(sorted(found, key=lambda lag: -lag.depth))


async def _of_stream(jetstream: JetStream, stream: str) -> list[Lag]:
    found: list[Lag] = []
    seen = 0
    while True:
        doing = f"asking how far the readers of {stream} are behind"
        try:
            page = await jetstream.ask(f"CONSUMER.LIST.{stream}", {"offset": seen}, _Consumers, doing=doing)
        except Refused as refused:
            raise StoreUnavailable(doing, refused.description) from refused
        found += [
            Lag(stream=stream, reader=one.config["durable_name"], depth=one.num_pending + one.num_ack_pending)
            for one in page.consumers
            if one.config.get("durable_name")
        ]
        seen += len(page.consumers)
        if not page.consumers or seen >= page.total:
            return found
