"""Writers and consumers killed at the worst moments: nothing is lost, nothing happens twice."""

import asyncio
import random
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from contextlib import aclosing

import pytest

from eventstore.oona import Oona
from eventstore.oona.server import LocalServer
from tests.eventstore.vocabulary import SEED, command, words
from tests.journeys.faults.acting import ACK_WAIT_S, STREAM, TARGET, carry_out
from tests.journeys.faults.ledger import tell
from tests.journeys.faults.wire import Wire
from tests.journeys.faults.writing import DECISIONS

KILLS = 3
COMMANDS = 20


async def process(module: str, *arguments: str) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", f"tests.journeys.faults.{module}", *arguments, stdin=PIPE, stdout=PIPE
    )


async def line(process: Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(30):
        return (await process.stdout.readline()).decode().strip()


async def killed(process: Process) -> None:
    process.kill()
    await process.wait()


async def test_a_writer_killed_between_append_and_ack_finds_its_decision_recorded(
    log: Oona, own_nats_server: LocalServer
):
    async with Wire(own_nats_server.url) as wire:
        writer = await process("writing", wire.url)
        assert await line(writer) == "now"
        wire.go_deaf()
        assert writer.stdin is not None
        writer.stdin.write(b"\n")
        await asyncio.wait_for(wire.lost.wait(), 20)
        await killed(writer)
    again = await process("writing", own_nats_server.url)
    await again.communicate(b"\n\n")
    stored = words(await log.store.read_stream(SEED))
    tell("writer killed between append and ack", stored)
    assert stored == list(DECISIONS)


@pytest.mark.parametrize("point", ["fetched", "done"])
async def test_a_consumer_killed_before_its_ack_leaves_each_effect_once(
    log: Oona, own_nats_server: LocalServer, point: str
):
    for number in range(COMMANDS):
        await log.bus.send(command(f"word {number}"))
    for _ in range(KILLS):
        consumer = await process("acting", own_nats_server.url, point)
        assert await line(consumer) == "here"
        await killed(consumer)
    deliveries = await deliveries_until_all_is_recorded(log, random.Random(0), forget=0.0)
    stored = Counter(words(await log.store.read_stream(STREAM)))
    tell(f"consumer killed {KILLS} times when {point}", f"{len(stored)} effects, {deliveries} later deliveries")
    assert stored == {f"word {number}": 1 for number in range(COMMANDS)}


async def test_commands_delivered_again_and_again_take_effect_once(log: Oona):
    for number in range(COMMANDS):
        await log.bus.send(command(f"word {number}"))
    deliveries = await deliveries_until_all_is_recorded(log, random.Random(7), forget=0.5)
    stored = Counter(words(await log.store.read_stream(STREAM)))
    tell("duplicate delivery", f"{deliveries} deliveries of {COMMANDS} commands, {sum(stored.values())} effects")
    assert deliveries > COMMANDS
    assert stored == {f"word {number}": 1 for number in range(COMMANDS)}


async def deliveries_until_all_is_recorded(log: Oona, chance: random.Random, *, forget: float) -> int:
    """Carry out every command until each was acknowledged, forgetting a share *forget* of the acks."""
    acknowledged: set[str] = set()
    deliveries = 0
    async with (
        asyncio.timeout(60),
        aclosing(log.bus.commands(TARGET, ack_wait_s=ACK_WAIT_S)) as commands,
    ):
        async for delivery in commands:
            deliveries += 1
            await carry_out(log, delivery)
            if chance.random() >= forget:
                await delivery.ack()
                acknowledged.add(delivery.record.command_id)
            if len(acknowledged) == COMMANDS:
                return deliveries
    raise AssertionError("commands come without end")
