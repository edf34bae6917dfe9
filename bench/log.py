"""How fast the log is written and read, beside what one would write by hand. Run: python -m bench.log"""

import argparse
import asyncio
import itertools
import os
import signal
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from nats.aio.client import Client

from bench import peers, sqlite_peer
from bench.filling import AGGREGATES, KEYS, WORD, commits, context, fill, forgetful_server
from bench.measuring import Contestant, Report, add_outputs, compete, machine, publish
from eventstore.oona import Oona, open_log
from eventstore.oona.connection import Connection
from eventstore.oona.jetstream import JetStream
from eventstore.oona.reading import LogReader
from eventstore.oona.server import LocalServer
from eventstore.oona.streams import EVENTS, StreamSizes
from eventstore.store import StreamName
from tests.eventstore.vocabulary import TYPES

SIZES = StreamSizes(events_bytes=8 << 30)
RAW = "BENCH_RAW"
DEADLINE_S = 10.0


async def appends(report: Report, folder: Path, options: argparse.Namespace) -> None:
    """One by one and pipelined, durable: every acknowledged message has been synced."""
    async with AsyncExitStack() as stack:
        server = LocalServer(folder, tied=True)
        await server.start()
        stack.push_async_callback(server.stop)
        log = await stack.enter_async_context(open_log(server.url, keys=KEYS, types=TYPES, commands=TYPES, sizes=SIZES))
        client = await peers.connect(server.url)
        stack.push_async_callback(client.close)
        windowed = client.jetstream(publish_async_max_pending=AGGREGATES)
        await windowed.add_stream(name=RAW, subjects=["bench.raw.>"], duplicate_window=SIZES.dedupe_window_s)
        fresh = itertools.count()

        def raw(many: int) -> list[tuple[str, bytes]]:
            return [(f"bench.raw.{subject.rpartition('.')[2]}", data) for subject, data in commits(many)]

        one_by_one, pipelined = raw(options.appends), raw(options.pipelined)
        await compete(
            report,
            {
                "append, one by one": lambda: append_one_by_one(log, next(fresh), options.appends),
                "js.publish, one by one": lambda: peers.publish_one_by_one(windowed, one_by_one),
            },
            [("append, one by one", "js.publish, one by one", 0.8)],
            rounds=options.rounds,
        )
        contestants: dict[str, Contestant] = {
            "appends to 256 aggregates": lambda: append_pipelined(log, next(fresh), options.pipelined),
            "counted acks, window 256": lambda: peers.counted_acks(client, pipelined, window=AGGREGATES),
            "publish_async, window 256": lambda: peers.publish_async(windowed, pipelined),
        }
        ours = "appends to 256 aggregates"
        wanted = [(ours, "counted acks, window 256", 0.6), (ours, "publish_async, window 256", 1.2)]
        await compete(report, contestants, wanted, rounds=options.rounds)


async def outage(report: Report, folder: Path) -> None:
    """Kill the server under 256 appends and 256 of nats-py's futures: which of them ever end?"""
    async with AsyncExitStack() as stack:
        server = LocalServer(folder, tied=True)
        await server.start()
        stack.push_async_callback(server.stop)
        log = await stack.enter_async_context(open_log(server.url, keys=KEYS, types=TYPES, commands=TYPES, sizes=SIZES))
        client = await peers.connect(server.url)
        stack.push_async_callback(client.close)
        js = client.jetstream(publish_async_max_pending=AGGREGATES)
        await js.add_stream(name=RAW, subjects=["bench.raw.>"])
        await append_pipelined(log, 0, AGGREGATES)
        os.kill(server.pid or 0, signal.SIGSTOP)
        theirs = [await js.publish_async(f"bench.raw.{number}", b"x") for number in range(AGGREGATES)]
        ours = [
            asyncio.ensure_future(
                log.store.append(StreamName("many", f"n0-{number}"), [WORD], expected=1, context=context(1))
            )
            for number in range(AGGREGATES)
        ]
        await asyncio.wait(ours, timeout=0.2)
        server.kill()
        await server.start()
        began = time.perf_counter()
        await asyncio.wait(ours, timeout=DEADLINE_S)
        report.remarks["server killed under 256 appends"] = (
            f"{sum(one.done() for one in ours)} of ours ended, within {time.perf_counter() - began:.2f} s of its return"
        )
        await asyncio.wait(theirs, timeout=DEADLINE_S)
        ended = sum(one.done() for one in theirs)
        report.remarks["server killed under 256 publish_async"] = f"{ended} ended within {DEADLINE_S:g} s of its return"
        await asyncio.gather(*ours, return_exceptions=True)


async def append_one_by_one(log: Oona, fresh: int, many: int) -> int:
    """Append *many* commits to one new aggregate, each after the other was acknowledged."""
    stream = StreamName("one", f"n{fresh}")
    for version in range(many):
        await log.store.append(stream, [WORD], expected=version, context=context(version))
    return many


async def append_pipelined(log: Oona, fresh: int, many: int) -> int:
    """Append to 256 new aggregates at once, to each one commit after the other."""

    async def to_one(number: int) -> None:
        stream = StreamName("many", f"n{fresh}-{number}")
        for version in range(many // AGGREGATES):
            await log.store.append(stream, [WORD], expected=version, context=context(version))

    async with asyncio.TaskGroup() as tasks:
        for number in range(AGGREGATES):
            tasks.create_task(to_one(number))
    return many // AGGREGATES * AGGREGATES


async def reads(report: Report, folder: Path, options: argparse.Namespace) -> None:
    """Catch-up replay of a whole log: messages only, and with every check."""
    async with AsyncExitStack() as stack:
        server = forgetful_server(folder)
        await server.start()
        stack.push_async_callback(server.stop)
        log = await stack.enter_async_context(open_log(server.url, keys=KEYS, types=TYPES, commands=TYPES, sizes=SIZES))
        client = await peers.connect(server.url)
        stack.push_async_callback(client.close)
        await fill(client, options.commits)
        bare = Connection()
        await bare.open(server.url, name="bench")
        stack.push_async_callback(bare.close)
        reader = LogReader(JetStream(bare), EVENTS)
        unverified, verified, by_hand = "replay, verification off", "replay, every check", "hand-written pull loop"
        await compete(
            report,
            {
                unverified: lambda: replay_unverified(reader, options.commits),
                verified: lambda: replay_verified(log),
                by_hand: lambda: replay_by_hand(client, options.commits),
            },
            [(unverified, by_hand, 0.7), (verified, by_hand, 0.3)],
            rounds=options.rounds,
        )


async def replay_unverified(reader: LogReader, last: int) -> int:
    """Read every message in order, contiguity checked, nothing opened."""
    return sum([len(batch) async for batch in reader.until(after=0, until=last)])


async def replay_verified(log: Oona) -> int:
    """Read every event: signature, identity, chain, contiguity and type checked."""
    many = 0
    async for _ in log.store.read_all():
        many += 1
    return many


async def replay_by_hand(client: Client, last: int) -> int:
    """Read every message with the peer's loop."""
    return sum([len(batch) async for batch in peers.pull(client, EVENTS, last)])


async def run(options: argparse.Namespace) -> Report:
    """Run everything that *options* ask for."""
    report = Report(machine=machine())
    with tempfile.TemporaryDirectory() as folder:
        if "append" in options.only:
            await appends(report, Path(folder) / "appends", options)
            await outage(report, Path(folder) / "outage")
        if "read" in options.only:
            await reads(report, Path(folder) / "reads", options)
    if options.eventsourcing:
        sqlite_peer.add(report, options.eventsourcing, options.appends, options.commits // 10)
    return report


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, run, print."""
    parser = argparse.ArgumentParser(prog="python -m bench.log", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--appends", type=int, default=500)
    parser.add_argument("--pipelined", type=int, default=5120)
    parser.add_argument("--commits", type=int, default=50_000)
    parser.add_argument("--only", nargs="+", choices=["append", "read"], default=["append", "read"])
    parser.add_argument("--eventsourcing", default="", help="a Python that has the eventsourcing library")
    add_outputs(parser)
    options = parser.parse_args(arguments)
    publish(asyncio.run(run(options)), "log", options)


if __name__ == "__main__":
    main()
