"""How a local stack is: asked of each of its parts, believed of none that does not answer."""

import asyncio
import urllib.request
from collections.abc import Iterable

import msgspec

from actors.hosting import Health, ask_health
from actors.place import Bus, Log, Place
from actors.projector import ask_projector
from actors.roster import ROSTER
from actors.settings import DEFAULTS, StackSettings
from actors.stackfile import StackFile, running_stack
from actors.watch import FabricState, ask_fabric
from esper.leyline.registry import COMMANDS, EVENTS
from eventstore.errors import EventStoreError, StoreUnavailable
from eventstore.oona.log import open_log
from eventstore.projection.live import Question


class Projected(msgspec.Struct, frozen=True, kw_only=True):
    """How far the projections are: `position` of the log's `head`. `halted` says why they follow no longer."""

    position: int
    head: int
    halted: str = ""

    @property
    def lag(self) -> int:
        """How many commits are in the log and not in the tables."""
        return max(0, self.head - self.position)


class StackStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What there is to say of the stack of `folder`; `stack` is None when none runs.

    `durable` is None when the server is silent, or does not say; `silent` names actors that do not answer; `waiting`
    counts, per actor, the commands and events that were put into its queues and not acknowledged by it; `projected` is
    None when the projector does not answer questions. `fabric` is what the warden says of the fabric as a whole; None
    when it keeps silent. `outboxes` counts, per run, the facts that its trainer, alive or dead, has not handed to the
    log.
    """

    folder: str
    stack: StackFile | None
    durable: bool | None = None
    answers: tuple[Health, ...] = ()
    silent: tuple[str, ...] = ()
    waiting: dict[str, int] = {}
    projected: Projected | None = None
    fabric: FabricState | None = None
    outboxes: dict[str, int] = {}

    @property
    def healthy(self) -> bool:
        """Whether a stack runs, all of it, and answers."""
        if self.stack is None or self.silent or (self.stack.monitor_url and self.durable is None):
            return False
        return all(process.state == "ready" for process in self.stack.processes)


async def stack_status(place: Place, settings: StackSettings = DEFAULTS) -> StackStatus:
    """Ask every part of the stack at *place* how it is; takes no longer than the health time-out, and a little."""
    found = running_stack(place)
    if found is None:
        return StackStatus(folder=str(place.folder), stack=None)
    names = {process.name for process in found.processes} & {actor.name for actor in ROSTER}
    try:
        opened = open_log(
            found.url,
            keys=place.keys,
            types=EVENTS,
            commands=COMMANDS,
            name="status",
            monitor=found.monitor_url,
            login=place.login("reader"),
        )
        async with opened as log:
            asked = [_asked(log.bus, name, settings.health_timeout_s) for name in sorted(names)]
            answers = [answer for answer in await asyncio.gather(*asked) if answer is not None]
            fabric = await _fabric(log.bus, settings.health_timeout_s)
            durable = log.durable if found.monitor_url else None
            projected = await _projected(log, settings.health_timeout_s) if "projector" in names else None
        waiting = {}
        if found.monitor_url:
            waiting = await asyncio.to_thread(_waiting, found.monitor_url, settings.health_timeout_s)
    except (StoreUnavailable, OSError):
        return StackStatus(folder=str(place.folder), stack=found, silent=tuple(sorted(names)))
    return StackStatus(
        folder=str(place.folder),
        stack=found,
        durable=durable,
        answers=tuple(answers),
        silent=tuple(sorted(names - {answer.name for answer in answers})),
        waiting=waiting,
        projected=projected,
        fabric=fabric,
    )


async def _projected(log: Log, timeout_s: float) -> Projected | None:
    head = (await log.store.identity()).last_position
    try:
        found = await ask_projector(log.bus, Question(sql="select 1"), timeout_s=timeout_s)
    except EventStoreError:
        return None
    return Projected(position=found.position, head=head, halted=found.halted.detail if found.halted else "")


async def _asked(bus: Bus, name: str, timeout_s: float) -> Health | None:
    try:
        return await ask_health(bus, name, timeout_s=timeout_s)
    except StoreUnavailable:
        return None


async def _fabric(bus: Bus, timeout_s: float) -> FabricState | None:
    try:
        return await ask_fabric(bus, timeout_s=timeout_s)
    except StoreUnavailable:
        return None


class _Config(msgspec.Struct, frozen=True):
    durable_name: str = ""


class _Consumer(msgspec.Struct, frozen=True):
    config: _Config
    num_pending: int
    num_ack_pending: int


class _Stream(msgspec.Struct, frozen=True):
    consumer_detail: tuple[_Consumer, ...] = ()


class _Account(msgspec.Struct, frozen=True):
    stream_detail: tuple[_Stream, ...] = ()


class _JetStream(msgspec.Struct, frozen=True):
    account_details: tuple[_Account, ...] = ()


def _waiting(monitor_url: str, timeout_s: float) -> dict[str, int]:
    """Return what waits in the queues of each actor, as the server counts it."""
    question = f"{monitor_url}/jsz?consumers=true&config=true"
    with urllib.request.urlopen(question, timeout=timeout_s) as answer:  # noqa: S310 - our own server, on loopback
        accounts = msgspec.json.decode(answer.read(), type=_JetStream).account_details
    consumers = [
        consumer for account in accounts for stream in account.stream_detail for consumer in stream.consumer_detail
    ]
    return {actor.name: sum(_depths(consumers, actor.readers)) for actor in ROSTER if actor.readers}


def _depths(consumers: Iterable[_Consumer], readers: frozenset[str]) -> Iterable[int]:
    return (
        consumer.num_pending + consumer.num_ack_pending
        for consumer in consumers
        if consumer.config.durable_name in readers
    )
