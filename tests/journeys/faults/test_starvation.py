"""Emergencies come first, and without end; ordinary commands are carried out all the same."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager

from eventstore.oona import Oona
from tests.eventstore.vocabulary import command, words
from tests.journeys.faults.acting import STREAM, TARGET, carry_out
from tests.journeys.faults.ledger import tell

COMMANDS = 30
EMERGENCIES_EACH = 20
WARDEN = "warden"


class Steady:
    """Emergencies that never cease, and the warden who hears them."""

    def __init__(self, log: Oona) -> None:
        self._log = log
        self.heard = 0
        self._more = asyncio.Condition()

    async def raise_on(self) -> None:
        """Raise one emergency after the other."""
        while True:
            await self._log.bus.alarm(command("fire", target=WARDEN))

    async def hear(self) -> None:
        """Acknowledge each."""
        async with aclosing(self._log.bus.alarms(WARDEN)) as alarms:
            async for alarm in alarms:
                await alarm.ack()
                async with self._more:
                    self.heard += 1
                    self._more.notify_all()

    async def until(self, many: int) -> None:
        """Wait until *many* have been heard."""
        async with self._more:
            await self._more.wait_for(lambda: self.heard >= many)


@asynccontextmanager
async def emergencies(log: Oona) -> AsyncGenerator[Steady, None]:
    steady = Steady(log)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(work) for work in (steady.raise_on(), steady.hear())]
        yield steady
        for task in tasks:
            task.cancel()


async def test_commands_are_carried_out_while_emergencies_never_cease(log: Oona):
    async with asyncio.timeout(60), emergencies(log) as steady:
        await steady.until(EMERGENCIES_EACH)
        for number in range(COMMANDS):
            await log.bus.send(command(f"word {number}"))
        async with aclosing(log.bus.commands(TARGET)) as commands:
            for _ in range(COMMANDS):
                delivery = await anext(commands)
                await carry_out(log, delivery)
                await delivery.ack()
        before = steady.heard
        await steady.until(before + EMERGENCIES_EACH)
    stored = words(await log.store.read_stream(STREAM))
    tell("emergencies without end", f"{steady.heard} heard, {len(stored)} of {COMMANDS} commands carried out meanwhile")
    assert stored == [f"word {number}" for number in range(COMMANDS)]


async def test_emergencies_are_heard_while_commands_pile_up_unread(log: Oona):
    for number in range(COMMANDS * 10):
        await log.bus.send(command(f"word {number}"))
    async with asyncio.timeout(30), emergencies(log) as steady:
        await steady.until(EMERGENCIES_EACH)
    tell(f"{COMMANDS * 10} commands that nobody reads", f"{steady.heard} emergencies heard")
    assert steady.heard >= EMERGENCIES_EACH
