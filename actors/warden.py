"""The warden: hears emergencies, buries what nobody gave up, records every dead letter, watches how deep queues are."""

import asyncio

from actors.clock import Clock, SystemClock
from actors.dead_letters import Registrar
from actors.emergency import FloodGuard
from actors.epoch import begin_epoch
from actors.place import Fabric, Place
from actors.watch import FabricWatch


async def run_warden(log: Fabric, place: Place, clock: Clock | None = None) -> None:
    """Keep watch until cancelled."""
    clock = clock or SystemClock()
    epoch = await begin_epoch(log.store, "warden", durable=log.durable, clock=clock)
    registrar = Registrar(log.store, log.dead, clock, "warden", epoch)
    async with asyncio.TaskGroup() as group:
        group.create_task(FloodGuard(log, clock, epoch).run())
        group.create_task(FabricWatch(log, clock, epoch).run())
        group.create_task(log.dead.bury_exhausted())
        group.create_task(_record_burials(log, registrar))


async def _record_burials(log: Fabric, registrar: Registrar) -> None:
    async for delivery in log.dead.each():
        if delivery.letter is not None:
            await registrar.record(delivery.letter)
        await delivery.ack()
