"""Logs to read from: signed, chained commits, written as fast as the server takes them."""

from collections.abc import Iterator
from pathlib import Path

from google.protobuf.wrappers_pb2 import StringValue
from nats.aio.client import Client

from bench.peers import counted_acks
from eventstore.commit import START, CommitCodec, Link, commit_id, link_after
from eventstore.oona.server import LocalServer
from eventstore.oona.streams import EVENTS
from eventstore.signing import Keys
from eventstore.store import Context, StreamName
from eventstore.subjects import of_stream
from tests.eventstore.vocabulary import TYPES

KEYS = Keys("bench")
CODEC = CommitCodec(KEYS, TYPES)
AGGREGATES = 256
WORD = StringValue(value="x" * 100)


def context(number: int) -> Context:
    """Return the context of the decision called *number*."""
    return Context(
        command_id=f"{number:032x}",
        command_type="bench.Say",
        recorded_at_ns=1_700_000_000_000_000_000 + number,
        actor="bench",
        run_id="r" * 32,
        causation_id="c" * 32,
        correlation_id="d" * 32,
    )


def commits(many: int) -> Iterator[tuple[str, bytes]]:
    """Yield *many* commits of one event with their subjects, over 256 aggregates."""
    ends: dict[StreamName, Link] = {}
    for number in range(many):
        stream = StreamName("bench", f"a{number % AGGREGATES}")
        end = ends.get(stream, START)
        data = CODEC.seal(stream, [WORD], context(number), end)
        ends[stream] = link_after(data, CODEC.unseal(data, number + 1, stream, end))
        yield of_stream(stream), data


async def fill(client: Client, many: int) -> None:
    """Write *many* commits into the log, with the headers that the store gives them."""
    messages = list(commits(many))

    def headers(number: int) -> dict[str, str]:
        version, subject = number // AGGREGATES, messages[number][0]
        return {
            "Nats-Msg-Id": commit_id(StreamName("bench", subject.rpartition(".")[2]), context(number).command_id),
            "Nats-Expected-Stream": EVENTS,
            "Nats-Expected-Last-Subject-Sequence": str(number + 1 - AGGREGATES if version else 0),
            "Esper-Types": WORD.DESCRIPTOR.full_name,
        }

    await counted_acks(client, messages, window=1000, headers=headers)


def forgetful_server(folder: Path) -> LocalServer:
    """Return a server that syncs when it likes: for filling a log that is only read afterwards."""
    return LocalServer(folder, tied=True, settings={"jetstream": {"store_dir": str(folder / "nats")}})
