"""A randomised campaign of faults against live appends, then the reckoning. Run: python -m bench.torture"""

import argparse
import asyncio
import os
import random
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

import msgspec
import stamina
import structlog
from google.protobuf.wrappers_pb2 import StringValue

from bench.measuring import machine
from eventstore.errors import StoreUnavailable, StreamMovedOn
from eventstore.oona import Oona, open_log
from eventstore.oona.server import LocalServer
from eventstore.projection.rebuild import content_hash, rebuild
from eventstore.projection.runner import catch_up
from eventstore.projection.sink import Sink
from eventstore.store import StreamName
from tests.eventstore.vocabulary import command, words
from tests.journeys.faults.acting import ACK_WAIT_S, STREAM, TARGET, carry_out
from tests.journeys.faults.conftest import RING
from tests.journeys.faults.ledger import Ledger, Verdict
from tests.journeys.faults.spoken import CATALOGUE
from tests.journeys.faults.wire import Wire

WRITERS = 4
RIVALS = StreamName("rivals", "r0")
FORGOTTEN_ACKS = 0.2
SETTLING_S = 60.0


class Reckoning(msgspec.Struct, frozen=True, kw_only=True):
    """What the campaign did and what the log holds after it."""

    seed: int
    minutes: float
    faults: dict[str, int]
    retries: int
    lost_races: int
    commands: int
    deliveries: int
    given_up: int
    effects_missing: int
    effects_doubled: int
    verdict: Verdict
    projected_events: int
    projection_equals_rebuild: bool

    @property
    def sound(self) -> bool:
        """Whether every promise was kept."""
        effects = self.effects_missing == self.effects_doubled == 0
        return self.verdict.sound and effects and self.projection_equals_rebuild


class Campaign:
    """Writers, rivals, a consumer and a projector on one server, and the faults that befall them."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.chance = folder, random.Random(seed)
        self.server = LocalServer(folder / "server", tied=True)
        self.ledger, self.stop = Ledger(), asyncio.Event()
        self.faults: Counter[str] = Counter()
        self.sent: list[str] = []
        self.deliveries = self.lost_races = 0
        self._projector: asyncio.subprocess.Process | None = None

    @property
    def projected(self) -> Path:
        """The file that the projector keeps."""
        return self.folder / "projected.duckdb"

    async def kill_server(self, _: Wire) -> None:
        """kill -9 and start again."""
        self.server.kill()
        await self.server.start()

    async def stall_server(self, _: Wire) -> None:
        """SIGSTOP for up to three seconds: longer than a request waits."""
        os.kill(self.server.pid or 0, signal.SIGSTOP)
        await asyncio.sleep(self.chance.uniform(0.1, 3.0))
        os.kill(self.server.pid or 0, signal.SIGCONT)

    async def cut_wire(self, wire: Wire) -> None:
        """Every client's connection ends at once."""
        wire.cut()

    async def lose_acks(self, wire: Wire) -> None:
        """What the server says is lost for a while, then the connections end."""
        wire.go_deaf()
        await asyncio.sleep(self.chance.uniform(0.05, 1.0))
        wire.cut()

    async def kill_projector(self, _: Wire) -> None:
        """kill -9 and start again from the checkpoint in its file."""
        await self.end_projector()
        program = (sys.executable, "-m", "tests.journeys.faults.projecting", self.server.url, str(self.projected))
        self._projector = await asyncio.create_subprocess_exec(
            *program, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL
        )

    async def end_projector(self) -> None:
        """Kill it, if it runs."""
        if self._projector is not None and self._projector.returncode is None:
            self._projector.kill()
            await self._projector.wait()

    async def compete(self, log: Oona) -> None:
        """Write to the stream that others write to as well."""
        version = 0
        while not self.stop.is_set():
            try:
                version = (await self.ledger.append(log.store, RIVALS, "rival", version)).events[-1].version
            except StreamMovedOn as moved:
                version, self.lost_races = moved.actual, self.lost_races + 1

    async def send_commands(self, log: Oona) -> None:
        """Send a command every now and then, until it is acknowledged."""
        while not self.stop.is_set():
            record = command(f"effect {len(self.sent)}")
            async for attempt in stamina.retry_context(on=StoreUnavailable, attempts=None, timeout=None, wait_max=0.5):
                with attempt:
                    await log.bus.send(record)
            self.sent.append(record.command.value)
            await asyncio.sleep(0.05)

    async def carry_out_commands(self, log: Oona) -> None:
        """Record every command's effect; forget a fifth of the acks."""
        version = 0
        async with aclosing(log.bus.commands(TARGET, ack_wait_s=ACK_WAIT_S)) as commands:
            async for delivery in commands:
                self.deliveries += 1
                try:
                    appended = await carry_out(log, delivery, version)
                    version = max(version, appended.events[-1].version)
                    await self.ledger.note(appended)
                    if self.chance.random() >= FORGOTTEN_ACKS:
                        await delivery.ack()
                except StreamMovedOn as moved:
                    version = moved.actual
                except StoreUnavailable:
                    continue

    async def bury(self, log: Oona) -> None:
        """Bury the commands that were delivered as often as is allowed; again after each outage, as a supervisor."""
        while True:
            try:
                await log.dead.bury_exhausted()
            except StoreUnavailable:
                await asyncio.sleep(0.5)

    async def befall(self, wire: Wire, minutes: float) -> None:
        """One fault after another, until the time is up."""
        loop = asyncio.get_running_loop()
        kinds: list[Callable[[Wire], Awaitable[None]]] = [
            self.kill_server, self.stall_server, self.cut_wire, self.lose_acks, self.kill_projector,
        ]  # fmt: skip
        ends = loop.time() + minutes * 60
        while loop.time() < ends:
            await asyncio.sleep(self.chance.uniform(0.2, 2.0))
            fault = self.chance.choice(kinds)
            await fault(wire)
            self.faults[fault.__name__] += 1
        self.stop.set()

    async def run(self, minutes: float) -> None:
        """Start everybody, let the faults befall them, and wait until the last command took effect."""
        await self.server.start()
        async with AsyncExitStack() as stack:
            wire = await stack.enter_async_context(Wire(self.server.url))
            logs = [await stack.enter_async_context(open_log(wire.url, **RING)) for _ in range(3)]
            async with asyncio.TaskGroup() as tasks:
                endless = [tasks.create_task(work(logs[2])) for work in (self.carry_out_commands, self.bury)]
                for number in range(WRITERS):
                    stream = StreamName("writer", f"w{number}")
                    tasks.create_task(self.ledger.write(logs[number % 2].store, stream, self.stop))
                for log in logs[:2]:
                    tasks.create_task(self.compete(log))
                tasks.create_task(self.send_commands(logs[0]))
                await self.kill_projector(wire)
                await self.befall(wire, minutes)
                await self.until_carried_out()
                for task in endless:
                    task.cancel()
            await self.end_projector()

    async def until_carried_out(self) -> None:
        """Wait until every command that was sent has left its effect or was given up, or too long."""
        async with open_log(self.server.url, **RING) as log:
            for _ in range(int(SETTLING_S)):
                await asyncio.sleep(1.0)
                done = set(words(await log.store.read_stream(STREAM)))
                if set(self.sent) <= done | await given_up(log):
                    return

    async def reckon(self, seed: int, minutes: float) -> Reckoning:
        """Compare promises, effects and projections with the log, which is read with every check."""
        async with open_log(self.server.url, **RING) as log:
            verdict = await self.ledger.compare(log.store)
            effects = Counter(words(await log.store.read_stream(STREAM)))
            buried = await given_up(log) - effects.keys()
            kept = Sink(self.projected, CATALOGUE)
            await catch_up(log.store, kept)
            fresh = self.folder / "rebuilt.duckdb"
            await rebuild(log.store, fresh, CATALOGUE)
            rebuilt = Sink(fresh, CATALOGUE)
            equal = content_hash(kept.connection) == content_hash(rebuilt.connection)
            events = kept.checkpoint.events
            kept.close()
            rebuilt.close()
        return Reckoning(
            seed=seed,
            minutes=minutes,
            faults=dict(sorted(self.faults.items())),
            retries=self.ledger.retries,
            lost_races=self.lost_races,
            commands=len(self.sent),
            deliveries=self.deliveries,
            given_up=len(buried),
            effects_missing=len(set(self.sent) - effects.keys() - buried),
            effects_doubled=sum(count - 1 for count in effects.values()),
            verdict=verdict,
            projected_events=events,
            projection_equals_rebuild=equal,
        )


async def given_up(log: Oona) -> set[str]:
    """Return the words of the commands among the dead letters."""
    commands = [log.dead.command_in(letter) for letter in await log.dead.all()]
    return {record.command.value for record in commands if record and isinstance(record.command, StringValue)}


async def torture(minutes: float, seed: int) -> Reckoning:
    """Run one campaign and reckon."""
    with tempfile.TemporaryDirectory() as folder:
        campaign = Campaign(Path(folder), seed)
        try:
            await campaign.run(minutes)
            return await campaign.reckon(seed, minutes)
        finally:
            await campaign.end_projector()
            await campaign.server.stop()


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, run, print; exit code 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m bench.torture", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    options = parser.parse_args(arguments)
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    stamina.instrumentation.set_on_retry_hooks([])
    sys.stdout.write(f"{msgspec.json.encode(machine()).decode()}\nseed {options.seed}\n")
    reckoning = asyncio.run(torture(options.minutes, options.seed))
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(reckoning), indent=2).decode() + "\n")
    sys.exit(0 if reckoning.sound else 1)


if __name__ == "__main__":
    main()
