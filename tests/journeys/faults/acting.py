"""An actor that can be told to stop dead at a point of its work, so that a test can kill it there.

Usage: python -m tests.journeys.faults.acting URL POINT     POINT: fetched, done (effect recorded, not acknowledged)
"""

import asyncio
import sys
from contextlib import aclosing

from eventstore.oona import Oona, open_log
from eventstore.store import Appended, CommandDelivery, Context, StreamName
from tests.eventstore.vocabulary import said
from tests.journeys.faults.conftest import RING

TARGET = "tezzeret"
STREAM = StreamName("job", "k1")
ACK_WAIT_S = 1.0


async def carry_out(log: Oona, delivery: CommandDelivery, version: int | None = None) -> Appended:
    """Record the command's outcome, after *version* if that is known, once however often it is delivered."""
    record = delivery.record
    if version is None:
        version = len(await log.store.read_stream(STREAM))
    context = Context(command_id=record.command_id, command_type="test.Say", recorded_at_ns=1, actor=TARGET)
    return await log.store.append(STREAM, said(record.command.value), expected=version, context=context)


async def act(url: str, point: str) -> None:
    async with open_log(url, **RING) as log, aclosing(log.bus.commands(TARGET, ack_wait_s=ACK_WAIT_S)) as commands:
        async for delivery in commands:
            if point == "fetched":
                await stop_dead()
            await carry_out(log, delivery)
            await stop_dead()


async def stop_dead() -> None:
    sys.stdout.write("here\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(act(sys.argv[1], sys.argv[2]))
