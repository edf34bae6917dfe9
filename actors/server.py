"""The local NATS server, kept running on one port and one store."""

import asyncio
from collections.abc import Callable

import msgspec

from actors.backoff import Backoff
from actors.clock import Clock
from actors.logs import logger
from actors.mortality import gone
from actors.place import Place
from actors.process import ProcessStatus
from actors.settings import Settings, StackSettings
from actors.users import ADMIN, users_of
from eventstore.errors import EventStoreError
from eventstore.oona.connection import Connection
from eventstore.oona.jetstream import JetStream
from eventstore.oona.server import LocalServer
from eventstore.oona.streams import StreamSizes, ensure


async def create_streams(url: str, place: Place, *, replicas: int = 1) -> None:
    """Create the streams that are missing at *url*, as the only user who may.

    Raises:
        LogMisconfigured: one exists with settings that break the promises.
        StoreUnavailable: the server did not answer.
    """
    connection = Connection()
    await connection.open(url, name="weatherlight", login=place.login(ADMIN))
    try:
        await ensure(JetStream(connection), StreamSizes(replicas=replicas))
    finally:
        await connection.close()


class KeptServer:
    """A server that is started again, where clients look for it, whenever it ends."""

    def __init__(self, place: Place, settings: Settings, clock: Clock, *, lock_fd: int, changed: Callable[[], None]):
        self._settings, self._clock, self._changed = settings, clock, changed
        self._place = place
        self._server = LocalServer(place.folder, tied=True, pass_fds=(lock_fd,), users=users_of(place))
        self.status = ProcessStatus(name="nats-server", state="stopped")

    async def start(self) -> None:
        """Start the server for the first time, on a port that the system chooses; returns when it has its streams.

        Raises:
            ServerError: there is none to start, or it does not come up.
            LogMisconfigured: its streams exist with settings that break the promises.
            StoreUnavailable: it has no streams and does not make them.
        """
        try:
            await self._server.start()
            await create_streams(self._server.url, self._place)
        except EventStoreError:
            await self._server.stop()
            raise
        self._now("ready")

    @property
    def url(self) -> str:
        """Where clients connect; the same for as long as this object lives."""
        return self._server.url

    @property
    def monitor_url(self) -> str:
        """Where the server answers questions about itself, over HTTP."""
        return self._server.monitor

    async def keep(self) -> None:
        """Keep the server running until cancelled, then stop it."""
        backoff, started_s = Backoff(self._settings.restart), self._clock.monotonic_s()
        try:
            while True:
                if self._server.pid is not None:
                    await gone(self._server.pid)
                backoff = backoff.after(self._clock.monotonic_s() - started_s)
                self._now("waiting", restarted=True)
                logger("weatherlight").warning("the server ended", restart_in_s=backoff.wait_s)
                await asyncio.sleep(backoff.wait_s)
                started_s = self._clock.monotonic_s()
                await self._start_again()
        finally:
            await self._server.stop()
            self._now("stopped")

    async def _start_again(self) -> None:
        try:
            await self._server.start()
            await create_streams(self._server.url, self._place)
        except EventStoreError as error:
            # Its port may be taken for a moment; the next round waits longer.
            await self._server.stop()
            logger("weatherlight").error("the server did not start", error=str(error))
        else:
            self._now("ready")

    def _now(self, state: str, *, restarted: bool = False) -> None:
        pid = self._server.pid or 0
        restarts = self.status.restarts + restarted
        self.status = msgspec.structs.replace(self.status, state=state, pid=pid, restarts=restarts)
        self._changed()


class GivenServer:
    """A server that others run: the stack's actors work on it, and it is neither started nor stopped."""

    def __init__(self, place: Place, settings: StackSettings) -> None:
        self._place, self._replicas = place, settings.replicas
        self.url, self.monitor_url = settings.server, settings.monitor
        self.status = ProcessStatus(name="nats-server", state="stopped")

    async def start(self) -> None:
        """Create the streams that are missing.

        Raises:
            LogMisconfigured: one exists with settings that break the promises.
            StoreUnavailable: the server did not answer, or lets us create none.
        """
        await create_streams(self.url, self._place, replicas=self._replicas)
        self.status = ProcessStatus(name="nats-server", state="ready")

    async def keep(self) -> None:
        """Wait until cancelled: there is nothing to keep."""
        await asyncio.get_running_loop().create_future()
