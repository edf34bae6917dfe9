"""One actor in a process of its own: it opens the log, runs the actor and answers for its health."""

import asyncio
import os
import signal
from collections.abc import Awaitable
from random import SystemRandom
from typing import NoReturn

import msgspec

from actors.clock import SystemClock
from actors.dispatch import load
from actors.emergency import raise_emergency
from actors.epoch import ACTOR
from actors.guarded import GuardedLog
from actors.ids import new_id
from actors.mortality import die_with, gone
from actors.place import Bus, Fabric, Log, Place
from actors.process import READY_LINE
from actors.roster import Entry
from esper.leyline.registry import COMMANDS, EVENTS
from esper.leyline.v1.enums_pb2 import EmergencyLevel
from esper.leyline.v1.fabric_pb2 import RaiseEmergency
from eventstore.errors import LogCorrupt, LogReplaced, StoreUnavailable, UnknownEventType
from eventstore.oona.log import open_log
from eventstore.store import StreamName

_POLL_S = 0.02
_ASK_S = 1.0


class ActorStopped(Exception):
    """An actor whose work ended although nobody told it to; its supervisor starts it again."""

    def __init__(self, name: str, why: str) -> None:
        self.name, self.why = name, why
        super().__init__(f"{name} stopped: {why}")


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """What an actor says when asked how it is; `epoch` is 0 for one that records no starts."""

    name: str
    pid: int
    epoch: int
    durable: bool


def health_subject(name: str) -> str:
    """Return the subject on which the actor called *name* answers for its health."""
    return f"esper.health.{name}"


async def ask_health(bus: Bus, name: str, *, timeout_s: float) -> Health:
    """Return what the actor called *name* says of itself.

    Raises:
        StoreUnavailable: it does not answer.
    """
    answer = await bus.ask(health_subject(name), b"", timeout_s=timeout_s)
    return msgspec.json.decode(answer, type=Health)


class Hosted(msgspec.Struct, frozen=True, kw_only=True):
    """Where a hosted actor works and who watches it."""

    entry: Entry
    place: Place
    url: str
    monitor: str
    supervisor_pid: int
    ready_fd: int


async def host(hosted: Hosted) -> None:
    """Run an actor until SIGTERM (which cancels it), or until its supervisor has ended.

    Raises:
        ActorStopped: the actor's work ended by itself.
        StoreUnavailable: the server cannot be reached; to be started again later.
    """
    name = hosted.entry.name
    die_with(hosted.supervisor_pid)
    _cancel_on_sigterm()
    run, login = hosted.entry.load(), hosted.place.login(hosted.entry.aggregate_id)
    opened = open_log(
        hosted.url,
        keys=hosted.place.keys,
        types=EVENTS,
        commands=COMMANDS,
        name=name,
        monitor=hosted.monitor,
        login=login,
    )
    async with opened as log, asyncio.TaskGroup() as group:
        group.create_task(_answer(log, hosted.entry))
        group.create_task(_stop_after(gone(hosted.supervisor_pid), name, "its supervisor ended"))
        guarded = GuardedLog(log, SystemClock(), hosted.entry.aggregate_id)
        place = await asyncio.to_thread(hosted.place.sharing, hosted.url, login)
        work = alarmed(run(guarded, place), guarded, hosted.entry)
        group.create_task(_stop_after(work, name, "its work returned"))
        await _answering(log.bus, health_subject(name))
        if hosted.entry.serves:
            await _answering(log.bus, hosted.entry.serves)
        os.write(hosted.ready_fd, READY_LINE)
        os.close(hosted.ready_fd)


def _cancel_on_sigterm() -> None:
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


async def _answer(log: Log, entry: Entry) -> None:
    async for request in log.bus.requests(health_subject(entry.name)):
        try:
            life, _ = await load(log.store, ACTOR, StreamName("actor", entry.aggregate_id))
            health = Health(name=entry.name, pid=os.getpid(), epoch=life.epoch, durable=log.durable)
            await request.answer(msgspec.json.encode(health))
        except StoreUnavailable:
            # The log does not answer, so neither does the actor: the asker takes its silence for what it is.
            continue


async def alarmed(work: Awaitable[None], log: Fabric, entry: Entry) -> None:
    """Do *work*; a log that cannot be trusted is an emergency, also when it is met again after a restart."""
    try:
        await work
    except (LogCorrupt, LogReplaced, UnknownEventType) as error:
        clock = SystemClock()
        emergency = RaiseEmergency(
            level=EmergencyLevel.EMERGENCY_LEVEL_HALT,
            source=entry.aggregate_id,
            reason=type(error).__name__,
            detail=str(error),
            raised_at_ns=clock.now_ns(),
        )
        await raise_emergency(log.alarms, clock, new_id(clock, SystemRandom()), emergency)
        raise


async def _stop_after(work: Awaitable[None], name: str, why: str) -> NoReturn:
    await work
    raise ActorStopped(name, why)


async def _answering(bus: Bus, subject: str) -> None:
    """Return when somebody answers on *subject*; cancelled if the actor stops first."""
    while True:
        try:
            await bus.ask(subject, b"", timeout_s=_ASK_S)
        except StoreUnavailable:
            await asyncio.sleep(_POLL_S)
        else:
            return
