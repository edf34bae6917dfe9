"""What becomes of pipelined appends when the connection is lost, ours and nats-py's. Run: python -m bench.disconnect"""

import argparse
import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import nats.errors

from bench import peers
from bench.filling import KEYS, WORD, commits, context
from bench.measuring import Report, add_outputs, machine, publish
from eventstore.errors import StoreUnavailable
from eventstore.oona import open_log
from eventstore.oona.server import LocalServer
from eventstore.oona.streams import StreamSizes
from eventstore.store import StreamName
from tests.eventstore.vocabulary import TYPES
from tests.journeys.faults.wire import Wire

SIZES = StreamSizes(events_bytes=1 << 30)
DEADLINE_S = 15.0
RAW = "BENCH_RAW"


class Outcomes(msgspec.Struct, frozen=True, kw_only=True):
    """How many of the appends in flight ended how, and when the last of those that ended did."""

    acknowledged: int = 0
    told_of_the_loss: int = 0
    never_ended: int = 0
    last_after_s: float = 0.0


async def settle(appends: Sequence[Awaitable[object]], wire: Wire) -> Outcomes:
    """Cut the wire while *appends* wait, give them the deadline, and count."""
    ended = Counter[str]()
    last = begun = time.perf_counter()

    async def one(append: Awaitable[object]) -> None:
        nonlocal last
        try:
            await append
            ended["acknowledged"] += 1
        except (StoreUnavailable, nats.errors.Error):
            ended["told"] += 1
        last = time.perf_counter()

    waiting = [asyncio.ensure_future(one(append)) for append in appends]
    await asyncio.sleep(0.2)
    wire.cut()
    _, pending = await asyncio.wait(waiting, timeout=DEADLINE_S)
    for task in pending:
        task.cancel()
    return Outcomes(
        acknowledged=ended["acknowledged"],
        told_of_the_loss=ended["told"],
        never_ended=len(pending),
        last_after_s=round(last - begun, 2),
    )


async def run(many: int) -> Report:
    """Let the server's answers get lost, cut the wire, and see who is still waiting at the deadline."""
    report = Report(machine=machine())
    async with AsyncExitStack() as stack:
        server = LocalServer(Path(stack.enter_context(tempfile.TemporaryDirectory())), tied=True)
        await server.start()
        stack.push_async_callback(server.stop)
        for name in ("ours", "publish_async"):
            wire = await stack.enter_async_context(Wire(server.url))
            if name == "ours":
                log = await stack.enter_async_context(
                    open_log(wire.url, keys=KEYS, types=TYPES, commands=TYPES, sizes=SIZES)
                )
                streams = [StreamName("cut", f"n{number}") for number in range(many)]
                await asyncio.gather(*(log.store.read_stream(stream) for stream in streams))
                wire.go_deaf()
                appends: list[Awaitable[object]] = [
                    log.store.append(stream, [WORD], expected=0, context=context(number))
                    for number, stream in enumerate(streams)
                ]
            else:
                client = await peers.connect(wire.url)
                stack.push_async_callback(client.close)
                js = client.jetstream(publish_async_max_pending=many)
                await js.add_stream(name=RAW, subjects=["bench.raw.>"])
                wire.go_deaf()
                appends = [
                    await js.publish_async(f"bench.raw.{number}", data)
                    for number, (_, data) in enumerate(commits(many))
                ]
            report.remarks[f"{name}, {many} in flight"] = msgspec.structs.asdict(await settle(appends, wire))
    return report


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, run, print."""
    parser = argparse.ArgumentParser(prog="python -m bench.disconnect", description=__doc__)
    parser.add_argument("--appends", type=int, default=1000)
    add_outputs(parser)
    options = parser.parse_args(arguments)
    publish(asyncio.run(run(options.appends)), "disconnect", options)


if __name__ == "__main__":
    main()
