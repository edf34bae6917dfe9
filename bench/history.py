"""What a year of history costs: how time, disk and memory grow with the log. Run: python -m bench.history"""

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from uuid import uuid4

import msgspec

from actors.projector import CATALOGUE
from bench import peers
from bench.filling import KEYS, forgetful_server
from bench.measuring import Report, insert, machine
from bench.years import grow
from esper.api.attach import LATEST, find_run
from esper.leyline.registry import COMMANDS, EVENTS
from esper.leyline.v1.run_pb2 import RunResumed
from eventstore.oona import Oona, open_log
from eventstore.oona.streams import StreamSizes
from eventstore.projection.rebuild import rebuild
from eventstore.store import Context
from eventstore.verification import verify_log
from ops.cli.chronicle import read_runs

SIZES = StreamSizes(events_bytes=24 << 30)
SMALL, MILLION = (10_000, 100_000), 1_000_000


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What one reader took in a process of its own: wall and CPU time, its memory at most and before it began."""

    seconds: float
    cpu_s: float
    peak_mib: float
    idle_mib: float


async def open_only(log: Oona, folder: Path) -> None:
    """Connect and ask how long the log is."""
    await log.store.identity()


async def latest(log: Oona, folder: Path) -> None:
    """Find the newest run and read its stream: what `resume="latest"` does first."""
    await find_run(log.store, LATEST)


async def append(log: Oona, folder: Path) -> None:
    """Append to a stream that this process has not seen yet: the first run's."""
    (first, *_) = await log.store.streams("run")
    version = (await log.store.read_stream(first))[-1].version
    given = Context(command_id=uuid4().hex, command_type="Bench", recorded_at_ns=time.time_ns(), actor="bench")
    await log.store.append(first, [RunResumed(attempt=version)], expected=version, context=given)


async def runs(log: Oona, folder: Path) -> None:
    """`esper runs`."""
    await read_runs(log.store)


async def verify(log: Oona, folder: Path) -> None:
    """`esper log verify`."""
    checked = await verify_log(log.store)
    assert checked.fault is None, checked.fault


async def project(log: Oona, folder: Path) -> None:
    """`esper project --rebuild`, with all of Esper's projections."""
    await rebuild(log.store, folder / "projections.duckdb", CATALOGUE)


READERS: dict[str, Callable[[Oona, Path], Awaitable[None]]] = {
    "open": open_only,
    "resume latest": latest,
    "first append": append,
    "esper runs": runs,
    "log verify": verify,
    "rebuild": project,
}


async def measured(url: str, reader: str) -> Cost:
    """Run one reader in this process, the connection included."""
    idle = _peak_mib()
    with tempfile.TemporaryDirectory() as folder:
        begun, cpu = time.perf_counter(), time.process_time()
        async with open_log(url, keys=KEYS, types=EVENTS, commands=COMMANDS, sizes=SIZES) as log:
            await READERS[reader](log, Path(folder))
        seconds, cpu_s = time.perf_counter() - begun, time.process_time() - cpu
    return Cost(seconds=seconds, cpu_s=cpu_s, peak_mib=_peak_mib(), idle_mib=idle)


def in_a_process(url: str, reader: str) -> Cost:
    """Run one reader in a fresh process."""
    command = [sys.executable, "-m", "bench.history", "--measure", reader, "--url", url]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return msgspec.json.decode(done.stdout, type=Cost)


async def run(sizes: Sequence[int]) -> AsyncGenerator[str, None]:
    """Grow a log and yield the lines of a Markdown table, one for every size: seconds of wall time (and of CPU)."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = forgetful_server(folder)
        await server.start()
        try:
            async with open_log(server.url, keys=KEYS, types=EVENTS, commands=COMMANDS, sizes=SIZES):
                client = await peers.connect(server.url)
            columns = ("commits", *READERS, "verified/s", "disk", "bytes each", "memory, verify", "memory, rebuild")
            yield f"| {' | '.join(columns)} |\n|{'---:|' * len(columns)}"
            async for commits in grow(client, sizes):
                costs = {reader: await asyncio.to_thread(in_a_process, server.url, reader) for reader in READERS}
                yield row(commits, costs, disk_bytes(folder / "nats"))
            await client.close()
        finally:
            await server.stop()


def row(commits: int, costs: dict[str, Cost], stored: int) -> str:
    """Return one line of the table."""
    times = [f"{_shown(cost.seconds)} ({_shown(cost.cpu_s)})" for cost in costs.values()]
    memory = [f"+{costs[name].peak_mib - costs[name].idle_mib:.0f} MiB" for name in ("log verify", "rebuild")]
    checked = costs["log verify"]
    rate = f"{commits / checked.seconds:,.0f} ({commits / checked.cpu_s:,.0f})"
    cells = [f"{commits:,}", *times, rate, f"{stored / 2**20:,.0f} MiB", f"{stored / commits:.0f}", *memory]
    return f"| {' | '.join(cells)} |"


def disk_bytes(folder: Path) -> int:
    """Return what the files below *folder* take."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def _shown(seconds: float) -> str:
    return f"{seconds:.3f}" if seconds < 1 else f"{seconds:.1f}"


def _peak_mib() -> float:
    """What `getrusage` says would be that of the parent, if that was larger when it started this process."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, run, print."""
    parser = argparse.ArgumentParser(prog="python -m bench.history", description=__doc__)
    parser.add_argument("--million", action="store_true", help="go on to a million commits: minutes more")
    parser.add_argument("--ten-million", action="store_true", help="and on to ten million: an hour, 10 GB of disk")
    parser.add_argument("--markdown", default="", metavar="PAGE", help="also put the table into this Markdown page")
    parser.add_argument("--measure", choices=READERS, help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.measure:
        sys.stdout.buffer.write(msgspec.json.encode(asyncio.run(measured(options.url, options.measure))))
        return
    asyncio.run(show(options))


async def show(options: argparse.Namespace) -> None:
    """Print the table line by line as it grows, and put it into the page that *options* name, if they do."""
    lines = [Report(machine=machine()).table(), ""]
    print(*lines, sep="\n", flush=True)
    million = [MILLION] if options.million or options.ten_million else []
    sizes = [*SMALL, *million, *([10 * MILLION] if options.ten_million else [])]
    async with aclosing(run(sizes)) as found:
        async for line in found:
            print(line, flush=True)
            lines.append(line)
    if options.markdown:
        insert("\n".join(lines), "history", Path(options.markdown))


if __name__ == "__main__":
    main()
