"""An actor that fails twice before it works."""

import asyncio

from actors.clock import SystemClock
from actors.epoch import begin_epoch
from actors.place import Log, Place


async def run_flaky(log: Log, place: Place) -> None:
    if await begin_epoch(log.store, "flaky", durable=log.durable, clock=SystemClock()) <= 2:
        raise ConnectionError("not this time")
    await asyncio.Event().wait()
