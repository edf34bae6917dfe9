"""How fast a log becomes DuckDB rows, beside chains written by hand. Run: python -m bench.projection"""

import argparse
import asyncio
import itertools
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from google.protobuf.wrappers_pb2 import StringValue
from nats.aio.client import Client
from nats.aio.msg import Msg

from bench import peers
from bench.filling import CODEC, KEYS, fill, forgetful_server
from bench.measuring import Report, add_outputs, compete, machine, publish
from eventstore.commit import Chains
from eventstore.oona import Oona, open_log
from eventstore.oona.streams import EVENTS, StreamSizes
from eventstore.projection.rebuild import rebuild
from eventstore.subjects import stream_of
from eventstore.v1.commit_pb2 import Commit, SignedCommit
from tests.eventstore.vocabulary import TYPES
from tests.journeys.faults.spoken import CATALOGUE, Spoken

COLUMNS = Spoken.tables["spoken"]
BATCH = 20_000
MILLION = 1_000_000
CREATE = f"CREATE TABLE spoken ({', '.join(f'{name} {kind}' for name, kind in COLUMNS.items())})"
INSERT = "INSERT INTO spoken BY NAME SELECT * FROM batch"


async def ours(log: Oona, path: Path) -> int:
    """Rebuild the projection from the first event, every check included, synced and swapped into place."""
    return (await rebuild(log.store, path, CATALOGUE)).events


async def by_hand(client: Client, last: int, path: Path, *, checked: bool) -> int:
    """Pull loop, protobuf, Arrow batches of 20,000, one transaction with the checkpoint for each, sink in a thread.

    Unchecked, it trusts every byte; *checked*, it verifies as a reader of ours does.
    """
    chains = Chains(from_start=True)
    connection = duckdb.connect(path, config={"threads": 1})
    connection.execute(CREATE)
    connection.execute("CREATE TABLE checkpoint (position BIGINT)")
    writing: asyncio.Future[None] = asyncio.ensure_future(asyncio.sleep(0))
    many = 0
    async for messages in in_batches(peers.pull(client, EVENTS, last)):
        columns = checked_columns(messages, many, chains) if checked else trusted_columns(messages, many)
        many += len(messages)
        await writing
        writing = asyncio.ensure_future(asyncio.to_thread(write, connection, columns, many))
    await writing
    connection.execute("CHECKPOINT")
    connection.close()
    return many


async def in_batches(lists: AsyncIterator[list[Msg]]) -> AsyncIterator[list[Msg]]:
    """Yield the messages of *lists* in batches of at least 20,000."""
    batch: list[Msg] = []
    async for messages in lists:
        batch.extend(messages)
        if len(batch) >= BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def trusted_columns(messages: list[Msg], before: int) -> list[list[Any]]:
    """Open every commit and return its one event's columns."""
    opened = [Commit.FromString(SignedCommit.FromString(message.data).commit) for message in messages]
    events = [commit.events[0] for commit in opened]
    return [
        list(range(before + 1, before + 1 + len(messages))),
        [commit.aggregate for commit in opened],
        [commit.aggregate_id for commit in opened],
        [commit.first_version for commit in opened],
        [event.event_id for event in events],
        [commit.commit_id for commit in opened],
        [commit.recorded_at_ns for commit in opened],
        [commit.actor for commit in opened],
        [StringValue.FromString(event.payload).value for event in events],
    ]


def checked_columns(messages: list[Msg], before: int, chains: Chains) -> list[list[Any]]:
    """Verify every commit and return its event's columns."""
    rows: list[tuple[object, ...]] = []
    for position, message in enumerate(messages, before + 1):
        stream = stream_of(message.subject)
        assert stream is not None
        for event in CODEC.read(message.data, position, stream, chains):
            [(_, values)] = CATALOGUE.rows(event)
            rows.append(tuple(values.values()))
    return [list(column) for column in zip(*rows, strict=True)]


def write(connection: duckdb.DuckDBPyConnection, columns: list[list[Any]], position: int) -> None:
    """Commit one batch with the checkpoint."""
    batch = pa.table(columns, names=list(COLUMNS))  # noqa: F841 DuckDB finds it by its name
    connection.execute("BEGIN")
    connection.execute(INSERT)
    connection.execute("DELETE FROM checkpoint")
    connection.execute("INSERT INTO checkpoint VALUES (?)", [position])
    connection.execute("COMMIT")


async def run(options: argparse.Namespace) -> Report:
    """Fill a log and race the chains over it."""
    report = Report(machine=machine())
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = forgetful_server(folder)
        await server.start()
        stack.push_async_callback(server.stop)
        sizes = StreamSizes(events_bytes=8 << 30)
        log = await stack.enter_async_context(open_log(server.url, keys=KEYS, types=TYPES, commands=TYPES, sizes=sizes))
        client = await peers.connect(server.url)
        stack.push_async_callback(client.close)
        await fill(client, options.commits)
        paths = (folder / f"{number}.duckdb" for number in itertools.count())
        us, trusting, checking = "our rebuild, every check", "by hand, trusting", "by hand, every check"
        await compete(
            report,
            {
                us: lambda: ours(log, next(paths)),
                trusting: lambda: by_hand(client, options.commits, next(paths), checked=False),
                checking: lambda: by_hand(client, options.commits, next(paths), checked=True),
            },
            [(us, trusting, 0.8), (us, checking, 0.8)],
            rounds=options.rounds,
        )
        rate, raw = report.speeds[us].per_s, report.speeds[trusting].per_s
        report.remarks["a rebuild of a million events, at this rate"] = f"{MILLION / rate:.1f} s"
        report.remarks["and on a machine where the trusting chain does 100,000/s"] = (
            f"{MILLION / rate * raw / 1e5:.1f} s"
        )
    return report


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, run, print."""
    parser = argparse.ArgumentParser(prog="python -m bench.projection", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--commits", type=int, default=100_000)
    add_outputs(parser)
    options = parser.parse_args(arguments)
    publish(asyncio.run(run(options)), "projection", options)


if __name__ == "__main__":
    main()
