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
from actors.settings import Settings
from eventstore.errors import ServerError
from eventstore.oona.server import LocalServer


class KeptServer:
    """A server that is started again, where clients look for it, whenever it ends."""

    def __init__(self, place: Place, settings: Settings, clock: Clock, *, lock_fd: int, changed: Callable[[], None]):
        self._settings, self._clock, self._changed = settings, clock, changed
        self._server = LocalServer(place.folder, tied=True, pass_fds=(lock_fd,))
        self.status = ProcessStatus(name="nats-server", state="stopped")

    async def start(self) -> None:
        """Start the server for the first time, on a port that the system chooses; returns when it answers.

        Raises:
            ServerError: there is none to start, or it does not come up.
        """
        await self._server.start()
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
        except ServerError as error:
            # Its port may be taken for a moment; the next round waits longer.
            logger("weatherlight").error("the server did not start", error=str(error))
        else:
            self._now("ready")

    def _now(self, state: str, *, restarted: bool = False) -> None:
        pid = self._server.pid or 0
        restarts = self.status.restarts + restarted
        self.status = msgspec.structs.replace(self.status, state=state, pid=pid, restarts=restarts)
        self._changed()
