"""Opening the log that a user named: "embedded", "memory" or a server's URL."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

import msgspec

from actors.clock import SystemClock
from actors.loop import BackgroundLoop
from actors.outbox import LIMIT_BYTES
from actors.place import Bus, Log, Place
from actors.stack import ensure_stack
from actors.stackfile import login_at
from actors.weatherlight import host_in_process
from esper.leyline.registry import COMMANDS, EVENTS
from eventstore.memory import MemoryBus, MemoryStore
from eventstore.oona import connect
from eventstore.oona.objects import shared_blobs
from eventstore.oona.telemetry import OonaTelemetry
from eventstore.store import BlobStore

EMBEDDED = "embedded"
MEMORY = "memory"
# A slow machine may take its time to start four processes; an answer after that is an error, not a wait.
CONNECT_WAIT_S = 60.0
FAREWELL_S = 30.0


class MemoryLog(NamedTuple):
    """A log that lives and dies with this process."""

    store: MemoryStore
    bus: Bus
    durable: bool = False


class OpenLog(NamedTuple):
    """An open log on its background loop, and how to close both; what it did not hear waits in `outbox_bytes`.

    A log that does not `outlive` the process has nobody who could hand over later what it did not hear. `blobs` are
    the server's, if it keeps any; `telemetry` is its lane for what is measured; `name` is what the user called the log.
    """

    log: Log
    loop: BackgroundLoop
    close: Callable[[], None]
    outlives: bool = True
    outbox_bytes: int = LIMIT_BYTES
    blobs: BlobStore | None = None
    telemetry: OonaTelemetry | None = None
    name: str = ""

    def seen_from(self, place: Place) -> Place:
        """Return *place* with the blobs of the log's server, if it keeps any."""
        return place if self.blobs is None else msgspec.structs.replace(place, blobs=self.blobs)


def open_named(log: str, place: Place) -> OpenLog:
    """Open *log* at *place*: "embedded" joins or starts the local stack, "memory" needs no server, else a URL.

    Raises:
        StackNotReady, StoreUnavailable: it cannot be reached; the message says what to look at.
    """
    loop = BackgroundLoop().start()
    try:
        if log == MEMORY:
            return _in_memory(place, loop)
        if log == EMBEDDED:
            return _embedded(place, loop)._replace(name=log)
        return _at(log, "", place, loop, close_stack=lambda: None)._replace(name=log)
    except BaseException:
        loop.stop()
        raise


def _in_memory(place: Place, loop: BackgroundLoop) -> OpenLog:
    store = MemoryStore(EVENTS, place.keys)
    log = MemoryLog(store, MemoryBus(store))
    hosting = loop.call(_task_of(host_in_process(log, place, SystemClock())))

    def close() -> None:
        try:
            # Its end is waited for: cancelled a second time while it cleans up, it might leave its compiler behind.
            loop.call(_ended(hosting), FAREWELL_S)
        finally:
            loop.stop()

    return OpenLog(log, loop, close, outlives=False)


async def _task_of(work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
    return asyncio.create_task(work)


async def _ended(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.wait([task])


def _embedded(place: Place, loop: BackgroundLoop) -> OpenLog:
    stack = ensure_stack(place)
    try:
        return _at(stack.url, stack.monitor_url, place, loop, close_stack=stack.close)
    except BaseException:
        stack.close()
        raise


def _at(url: str, monitor: str, place: Place, loop: BackgroundLoop, *, close_stack: Callable[[], None]) -> OpenLog:
    login = login_at(place, url, "trainer")
    opening = connect(
        url, keys=place.keys, types=EVENTS, commands=COMMANDS, name="esper-trainer", monitor=monitor, login=login
    )
    oona = loop.call(opening, CONNECT_WAIT_S)
    blobs = shared_blobs(url, login=login)

    def close() -> None:
        try:
            loop.call(oona.close(), CONNECT_WAIT_S)
        finally:
            loop.stop()
            if blobs is not None:
                blobs.close()
            close_stack()

    return OpenLog(oona, loop, close, blobs=blobs, telemetry=oona.telemetry)
