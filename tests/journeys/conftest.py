"""A real server with the forge and the library at work beside it, in this process."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from actors.clock import SystemClock
from actors.loop import BackgroundLoop
from actors.place import Place
from actors.weatherlight import host_in_process
from esper.leyline.registry import COMMANDS, EVENTS
from eventstore.oona import Oona, connect
from eventstore.oona.server import LocalServer
from eventstore.store import Recorded


class Works(NamedTuple):
    """A server that can be killed, the place it serves, and a connection of the test's own."""

    server: LocalServer
    place: Place
    log: Oona
    loop: BackgroundLoop

    def recorded(self) -> list[Recorded]:
        """Return every event of the log, verified."""
        return self.loop.call(_all(self.log), 60)

    def kill_server(self) -> None:
        """End the server as a power cut would, without a chance to tidy up."""
        self.loop.call(_killed(self.server), 60)

    def restart_server(self) -> None:
        """Start the server again on the same port and store."""
        self.loop.call(self.server.start(), 60)


async def _killed(server: LocalServer) -> None:
    server.kill()


async def _all(log: Oona) -> list[Recorded]:
    return [recorded async for recorded in log.store.read_all()]


@pytest.fixture
def works(tmp_path: Path) -> Iterator[Works]:
    place = Place.at(tmp_path / "esper")
    server = LocalServer(tmp_path / "server")
    with BackgroundLoop("test-works") as loop:
        loop.call(server.start(), 60)
        log = loop.call(connect(server.url, keys=place.keys, types=EVENTS, commands=COMMANDS), 60)
        hosting = loop.spawn(host_in_process(log, place, SystemClock()))
        yield Works(server, place, log, loop)
        hosting.cancel()
        loop.call(log.close(), 60)
        loop.call(server.stop(), 60)
