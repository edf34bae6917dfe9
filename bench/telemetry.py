"""How fast telemetry is sent, beside a bare fast-ingest loop. Run: python -m bench.telemetry

Both send the same packets over nats-py to the same stream in batches of the same size. The peer signs nothing, sheds
nothing and counts nothing; the third contestant is the peer with our signature on every message, to tell what that
costs.
"""

import argparse
import asyncio
import itertools
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg

from actors.clock import SystemClock
from actors.measuring import RunTelemetry, StepMeasures
from bench import peers
from bench.filling import KEYS
from bench.measuring import Contestant, Report, compete, machine, publish
from eventstore.oona import Oona, open_log
from eventstore.oona.server import LocalServer
from eventstore.oona.streams import StreamSizes
from eventstore.oona.telemetry import SendSettings
from eventstore.telemetry import seal, unseal
from tests.eventstore.vocabulary import TYPES

SUBJECT = "esper.tel.tolaria.bench"
BATCH, FLOW = 5_000, 1_000
NORMAL = 2
_BATCHES = itertools.count()


async def fast_ingest(client: Client, messages: Sequence[tuple[str, bytes]]) -> int:
    """One fast batch by hand: flow acknowledgements are awaited two windows behind, no deadline, no outcome."""
    inbox, acknowledged, window = f"{client.new_inbox()}.b{next(_BATCHES)}", 0, 0
    count, moved = 0, asyncio.Event()

    async def on_answer(message: Msg) -> None:
        nonlocal acknowledged, window, count
        answer = msgspec.json.decode(message.data)
        if "error" in answer:
            raise RuntimeError(str(answer))
        if "type" in answer:
            acknowledged, window = answer["seq"], answer["msgs"] * 2
        else:
            count = answer["count"]
        moved.set()

    subscription = await client.subscribe(f"{inbox}.>", cb=on_answer)
    last = len(messages)
    for number, (subject, data) in enumerate(messages, 1):
        operation = 2 if number == last else 1 if number > 1 else 0
        await client.publish(subject, data, reply=f"{inbox}.{FLOW}.fail.{number}.{operation}.$FI")
        while number < last and number >= acknowledged + window:
            moved.clear()
            await moved.wait()
    while not count:
        moved.clear()
        await moved.wait()
    await subscription.unsubscribe()
    assert count == last, (count, last)
    return count


async def by_hand(client: Client, packets: Sequence[bytes], *, signed: bool) -> int:
    """The peer: batches one after the other, until all is acknowledged."""
    many = 0
    for first in range(0, len(packets), BATCH):
        chosen = packets[first : first + BATCH]
        many += await fast_ingest(client, [(SUBJECT, seal(KEYS, SUBJECT, one) if signed else one) for one in chosen])
    return many


async def ours(log: Oona, packets: Sequence[bytes]) -> int:
    """Offer everything to a publisher and wait until all of it is acknowledged."""
    publisher = log.telemetry.publisher(SendSettings(capacity=len(packets), batch=BATCH))
    for packet in packets:
        publisher.offer(SUBJECT, packet, NORMAL)
    await publisher.drain(120.0)
    counts = publisher.counts
    assert counts.stored == len(packets), counts
    return counts.stored


def signing(packets: Sequence[bytes]) -> dict[str, object]:
    """Return what a signature costs, in microseconds."""
    began = time.perf_counter()
    sealed = [seal(KEYS, SUBJECT, packet) for packet in packets]
    between = time.perf_counter()
    for data in sealed:
        unseal(KEYS, SUBJECT, data)
    ended = time.perf_counter()
    many = len(packets)
    return {
        "signing one message, us": round((between - began) / many * 1e6, 2),
        "verifying one message, us": round((ended - between) / many * 1e6, 2),
        "bytes added to each": len(sealed[0]) - len(packets[0]),
    }


async def step_cost(log: Oona, many: int) -> dict[str, object]:
    """Return what a training step pays for its telemetry, in microseconds; everything is left unsent."""
    telemetry = RunTelemetry(log.telemetry, log.bus, "b" * 32, SystemClock())
    each: list[float] = []
    for number in range(many):
        began = time.perf_counter()
        telemetry.step(StepMeasures(number, 1, 0.5, 4.0, 0.1, 0.1))
        each.append(time.perf_counter() - began)
    each.sort()
    return {
        "a training step pays, us (median, mean, longest)": ", ".join(
            f"{seconds * 1e6:.1f}" for seconds in (each[many // 2], sum(each) / many, each[-1])
        )
    }


async def run(options: argparse.Namespace) -> Report:
    """Let the contestants send to one server, in turns."""
    report = Report(machine=machine())
    packets = [number.to_bytes(options.size, "big") for number in range(options.messages)]
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        server = LocalServer(Path(folder), tied=True)
        await server.start()
        stack.push_async_callback(server.stop)
        sizes = StreamSizes(telemetry_bytes=1 << 30)
        log = await stack.enter_async_context(open_log(server.url, keys=KEYS, types=TYPES, commands=TYPES, sizes=sizes))
        client = await peers.connect(server.url)
        stack.push_async_callback(client.close)
        bare, signed = "fast-ingest loop by hand", "the same loop, signed"
        contestants: dict[str, Contestant] = {
            "telemetry publisher": lambda: ours(log, packets),
            bare: lambda: by_hand(client, packets, signed=False),
            signed: lambda: by_hand(client, packets, signed=True),
        }
        wanted = [("telemetry publisher", bare, 0.5), ("telemetry publisher", signed, 0.0), (signed, bare, 0.0)]
        await compete(report, contestants, wanted, rounds=options.rounds)
        report.remarks.update(await step_cost(log, options.messages))
    report.remarks.update(signing(packets))
    return report


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, run, print."""
    parser = argparse.ArgumentParser(prog="python -m bench.telemetry", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--messages", type=int, default=50_000)
    parser.add_argument("--size", type=int, default=200, help="bytes of one packet")
    parser.add_argument("--json", default="", help="also write the report to this file")
    options = parser.parse_args(arguments)
    publish(asyncio.run(run(options)), options.json)


if __name__ == "__main__":
    main()
