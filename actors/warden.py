"""The warden: hears emergencies, buries what nobody gave up, records dead letters, sweeps up settled commands, and
watches how deep queues are."""

import asyncio

from actors.clock import Clock, SystemClock
from actors.dead_letters import Registrar
from actors.emergency import FloodGuard
from actors.epoch import begin_epoch
from actors.logs import logger
from actors.place import Fabric, Place
from actors.watch import FabricWatch
from eventstore.errors import StoreUnavailable
from eventstore.oona.sweeping import Keeping

SWEEP_EVERY_S = 600.0


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
        group.create_task(_sweep(log, clock))


async def _record_burials(log: Fabric, registrar: Registrar) -> None:
    async for delivery in log.dead.each():
        if delivery.letter is not None:
            await registrar.record(delivery.letter)
        await delivery.ack()


async def _sweep(log: Fabric, clock: Clock) -> None:
    """Make room among the commands: at the start, and then now and again, so that sending never has to stop."""
    while True:
        try:
            swept = await log.settled.sweep(Keeping(), now_ns=clock.now_ns())
        except StoreUnavailable as error:
            logger("warden").warning("settled commands were not swept up", error=str(error))
        else:
            if swept:
                logger("warden").info("settled commands swept up", **swept)
        await asyncio.sleep(SWEEP_EVERY_S)
