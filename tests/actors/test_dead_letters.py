"""Decisions about dead letters are recorded before they take effect."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import pytest

from actors.clock import SystemClock
from actors.dead_letters import FATE, Fate, FateSealed, Registrar, stream_of
from actors.place import Place
from actors.warden import run_warden
from esper.leyline.registry import COMMANDS, EVENTS
from esper.leyline.v1.fabric_pb2 import (
    BuryDeadLetter,
    DeadLetterBuried,
    DeadLetterDropped,
    DeadLetterRetried,
    DropDeadLetter,
    RetryDeadLetter,
)
from eventstore.oona import Oona, open_log
from eventstore.oona.burial import DeadLetter
from eventstore.oona.server import LocalServer
from tests.actors.workshop import kernel_spec, request

BURIED = FATE.fold([DeadLetterBuried()])


@pytest.fixture
async def log(tmp_path: Path, nats_server: LocalServer) -> AsyncGenerator[Oona, None]:
    place = Place.at(tmp_path, {})
    async with open_log(nats_server.url, keys=place.keys, types=EVENTS, commands=COMMANDS) as log:
        yield log


@pytest.fixture
def registrar(log: Oona) -> Registrar:
    return Registrar(log.store, log.dead, SystemClock(), "operator")


async def given_up(log: Oona) -> DeadLetter:
    await request(log.bus, kernel_spec("BP001"))
    async with asyncio.timeout(20), aclosing(log.bus.commands("urza")) as commands:
        await (await anext(commands)).dead_letter("the library is closed")
    [letter] = await log.dead.all()
    return letter


async def recorded(log: Oona, letter: DeadLetter) -> list[object]:
    return [event.event for event in await log.store.read_stream(stream_of(letter.letter_id))]


def test_a_letter_is_buried_once():
    assert FATE.decide(BURIED, BuryDeadLetter()) == []


def test_a_letter_may_be_retried_again():
    once = FATE.fold([DeadLetterRetried(retry=1)], BURIED)
    assert FATE.decide(once, RetryDeadLetter(by="ann")) == [DeadLetterRetried(retry=2, by="ann")]


@pytest.mark.parametrize("fate", [Fate(), FATE.fold([DeadLetterDropped()], BURIED)], ids=["unrecorded", "dropped"])
def test_a_letter_that_is_not_there_cannot_be_retried(fate: Fate):
    with pytest.raises(FateSealed, match=f"{fate.status} cannot RetryDeadLetter"):
        FATE.decide(fate, RetryDeadLetter())


def test_a_dropped_letter_is_dropped_once():
    assert FATE.decide(FATE.fold([DeadLetterDropped()], BURIED), DropDeadLetter()) == []


async def test_a_retry_is_recorded_and_delivers_the_command_again(log: Oona, registrar: Registrar):
    letter = await given_up(log)
    assert await registrar.retry(letter, by="ann", note="it is open again") == 1
    buried, retried = await recorded(log, letter)
    assert isinstance(buried, DeadLetterBuried)
    assert (buried.letter.reason, buried.letter.error) == ("given_up", "the library is closed")
    assert buried.letter.command_type == "esper.leyline.v1.RequestKernel"
    assert retried == DeadLetterRetried(retry=1, by="ann", note="it is open again")
    async with asyncio.timeout(20), aclosing(log.bus.commands("urza")) as commands:
        again = await anext(commands)
    assert again.record.command_id == buried.letter.command_id


async def test_a_drop_is_recorded_and_removes_the_bytes(log: Oona, registrar: Registrar):
    letter = await given_up(log)
    await registrar.drop(letter, by="ann")
    assert (await recorded(log, letter))[1:] == [DeadLetterDropped(by="ann")]
    assert await log.dead.all() == []


async def test_the_warden_records_each_letter_once_across_its_lives(log: Oona, tmp_path: Path):
    letter = await given_up(log)
    for _ in range(2):
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            warden = group.create_task(run_warden(log, Place.at(tmp_path, {})))
            async for event in log.store.follow():
                if isinstance(event.event, DeadLetterBuried):
                    break
            warden.cancel()
    assert [type(event) for event in await recorded(log, letter)] == [DeadLetterBuried]
