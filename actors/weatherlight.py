"""Weatherlight: the supervisor that hosts actors, restarts them and reports their health.

    python -m actors.weatherlight --folder .esper               the stack, until SIGTERM
    python -m actors.weatherlight --folder .esper --embedded    the same, until the last process that uses it ends

Signals to the supervisor: SIGTERM and SIGINT stop it, SIGUSR1 makes it count its users again, SIGUSR2 makes it stay.
"""

import argparse
import asyncio
import os
import signal
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from actors import tenants
from actors.backoff import Backoff
from actors.clock import Clock, SystemClock
from actors.hosting import Hosted, host
from actors.logs import configure_service, logger
from actors.mortality import gone
from actors.place import Log, Place
from actors.process import KeptProcess, module_command
from actors.roster import ROSTER, Entry, entry
from actors.server import GivenServer, KeptServer
from actors.settings import RestartSettings, Settings, SettingsInvalid, read_settings
from actors.stackfile import StackBusy, StackFile, forget_stack, holding_stack
from eventstore.errors import EventStoreError

_log = logger("weatherlight")


class Weatherlight:
    """One local stack: a server and the actors of the roster, each in a process of its own.

    Every process ends with the supervisor, however that ends; the data stays.
    """

    def __init__(self, place: Place, settings: Settings, clock: Clock, *, embedded: bool, lock_fd: int) -> None:
        self._place, self._settings, self._clock = place, settings, clock
        self._embedded, self._started_at_ns = embedded, clock.now_ns()
        self._public = False
        self._stopping, self._recount = asyncio.Event(), asyncio.Event()
        self._server: KeptServer | GivenServer = (
            GivenServer(place, settings.stack)
            if settings.stack.server
            else KeptServer(place, settings, clock, lock_fd=lock_fd, changed=self._changed)
        )
        self._processes: list[KeptProcess] = []

    async def run(self) -> None:
        """Bring the stack up, keep it up until it is no longer wanted, and end it in order."""
        self._heed_signals()
        await self._server.start()
        self._processes = [self._process(actor) for actor in ROSTER]
        async with asyncio.TaskGroup() as group:
            kept = [group.create_task(process.keep()) for process in self._processes]
            # Actors say goodbye to the server, so it is the last to go.
            kept.append(group.create_task(self._server.keep()))
            ends = [group.create_task(_seen(self._stopping)), group.create_task(self._until_deserted())]
            announcing = group.create_task(self._announce())
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            self._withdraw()
            for task in (*ends, announcing, *kept):
                task.cancel()
                await asyncio.wait([task])
        _log.info("stopped")

    def _heed_signals(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stopping.set)
        loop.add_signal_handler(signal.SIGINT, self._stopping.set)
        loop.add_signal_handler(signal.SIGUSR1, self._recount.set)
        loop.add_signal_handler(signal.SIGUSR2, self._stay)

    def _process(self, actor: Entry) -> KeptProcess:
        where = ("--folder", str(self._place.folder), "--url", self._server.url, "--monitor", self._server.monitor_url)
        return KeptProcess(
            actor.name,
            module_command("actors.weatherlight", "--actor", actor.name, *where, "--supervisor", str(os.getpid())),
            log=self._place.logs / f"{actor.name}.log",
            settings=self._settings,
            clock=self._clock,
            changed=self._changed,
        )

    async def _announce(self) -> None:
        """Tell others where the stack is, once every part of it is ready."""
        for process in self._processes:
            await process.ready()
        self._public = True
        self._changed()
        _log.info("ready", url=self._server.url)

    def _withdraw(self) -> None:
        self._public = False
        forget_stack(self._place)

    def _changed(self) -> None:
        if self._public:
            StackFile(
                url=self._server.url,
                monitor_url=self._server.monitor_url,
                pid=os.getpid(),
                embedded=self._embedded,
                started_at_ns=self._started_at_ns,
                processes=(self._server.status, *(process.status for process in self._processes)),
            ).write(self._place)

    def _stay(self) -> None:
        self._embedded = False
        self._recount.set()
        self._changed()

    async def _until_deserted(self) -> None:
        """Return when nobody uses an embedded stack any more; never for one that is to stay."""
        while True:
            self._recount.clear()
            users = tenants.living(self._place)
            if self._embedded and not users:
                # Whoever enters from here on finds no description, and waits; whoever entered before is counted.
                public = self._public
                self._withdraw()
                users = tenants.living(self._place)
                if not users:
                    return
                self._public = public
                self._changed()
            await self._change_among(users)

    async def _change_among(self, users: Collection[int]) -> None:
        """Return when one of *users* has ended, or when told to count again."""
        watches = [asyncio.create_task(gone(pid)) for pid in users] if self._embedded else []
        watches.append(asyncio.create_task(_seen(self._recount)))
        try:
            await asyncio.wait(watches, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for watch in watches:
                watch.cancel()


async def _seen(event: asyncio.Event) -> None:
    await event.wait()


async def host_in_process(log: Log, place: Place, clock: Clock, *, roster: Iterable[Entry] = ROSTER) -> None:
    """Run the actors that need neither disk nor server beside a log in memory, until cancelled; restart who fails."""
    async with asyncio.TaskGroup() as group:
        for actor in roster:
            if not (actor.needs_disk or actor.needs_server):
                group.create_task(_keep_in_process(actor, log, place, clock))


async def _keep_in_process(actor: Entry, log: Log, place: Place, clock: Clock) -> None:
    run, backoff = actor.load(), Backoff(RestartSettings())
    while True:
        started_s = clock.monotonic_s()
        try:
            await run(log, place)
            _log.error("an actor's work returned", name=actor.name)
        except Exception:
            _log.exception("an actor failed", name=actor.name)
        backoff = backoff.after(clock.monotonic_s() - started_s)
        await asyncio.sleep(backoff.wait_s)


async def _supervise(place: Place, settings: Settings, *, embedded: bool) -> None:
    with holding_stack(place) as lock_fd:
        forget_stack(place)
        await Weatherlight(place, settings, SystemClock(), embedded=embedded, lock_fd=lock_fd).run()


def main(arguments: Sequence[str] | None = None) -> None:
    """Be the supervisor, or one of the actors that it started."""
    parser = argparse.ArgumentParser(prog="python -m actors.weatherlight", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--embedded", action="store_true", help="end with the last process that uses the stack")
    parser.add_argument("--actor", help="be this actor instead of the supervisor")
    parser.add_argument("--url", help="the server, for an actor")
    parser.add_argument("--monitor", help="where the server answers for itself, for an actor")
    parser.add_argument("--supervisor", type=int, help="the supervisor's process, for an actor")
    parser.add_argument("--ready-fd", type=int, help="where an actor says that it is ready")
    given = parser.parse_args(arguments)
    configure_service(given.actor or "weatherlight")
    try:
        _be(given)
    except (StackBusy, SettingsInvalid, EventStoreError) as error:
        raise SystemExit(f"weatherlight: {error}") from error
    except asyncio.CancelledError:
        _log.info("stopped", name=given.actor)


def _be(given: argparse.Namespace) -> None:
    place = Place.at(given.folder)
    if given.actor is None:
        asyncio.run(_supervise(place, read_settings(environ=os.environ), embedded=given.embedded))
        return
    hosted = Hosted(
        entry=entry(given.actor),
        place=place,
        url=given.url,
        monitor=given.monitor,
        supervisor_pid=given.supervisor,
        ready_fd=given.ready_fd,
    )
    asyncio.run(host(hosted))


if __name__ == "__main__":
    main()
