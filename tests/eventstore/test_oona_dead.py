"""What becomes of messages that were given up."""

import asyncio
from contextlib import aclosing

import msgspec
import pytest

from eventstore.oona import Oona, open_log
from eventstore.oona.burial import DeadLetter
from eventstore.oona.dead import NotRetryable
from eventstore.oona.server import LocalServer
from eventstore.signing import Keys
from eventstore.store import CommandDelivery
from tests.eventstore.vocabulary import TYPES, command


async def delivered(oona: Oona, **settings: object) -> CommandDelivery:
    """Return the next command for the forge."""
    async with asyncio.timeout(20), aclosing(oona.bus.commands("tezzeret", **settings)) as commands:
        return await anext(commands)


async def given_up(oona: Oona) -> DeadLetter:
    """Have one command given up, and return the letter."""
    await oona.bus.send(command("poison", deadline_ns=0))
    await (await delivered(oona)).dead_letter("no")
    [letter] = await oona.dead.all()
    return letter


async def killed(oona: Oona, times: int) -> None:
    """Let the forge's command go unanswered *times* times, as if each had killed it."""
    for _ in range(times):
        await delivered(oona, ack_wait_s=0.05, deliveries_at_most=times)


async def until_buried(oona: Oona, many: int) -> list[DeadLetter]:
    """Read on, so that the server notices, until *many* letters are buried."""
    async with asyncio.timeout(20), aclosing(oona.bus.commands("tezzeret", ack_wait_s=0.05)) as commands:
        reading = asyncio.ensure_future(anext(commands))
        while len(letters := await oona.dead.all()) < many:
            await asyncio.wait({reading}, timeout=0.05)
        reading.cancel()
        await asyncio.wait({reading})
    return letters


async def test_a_command_that_kills_its_actor_five_times_is_buried_once_as_it_came(oona: Oona):
    sent = command("deadly")
    await oona.bus.send(sent)
    await killed(oona, 5)
    wardens = [asyncio.ensure_future(oona.dead.bury_exhausted()) for _ in range(2)]
    [letter] = await until_buried(oona, 1)
    assert (letter.reason, letter.deliveries, letter.position) == ("exhausted", 5, 1)
    assert letter.error.startswith("it was delivered 5 times")
    assert letter.headers["Nats-Msg-Id"] == sent.command_id
    assert oona.dead.command_in(letter) == sent
    for warden in wardens:
        warden.cancel()
    await asyncio.wait(wardens)


async def test_a_warden_that_was_away_finds_the_exhausted_later(oona: Oona, nats_server: LocalServer):
    await oona.bus.send(command("deadly"))
    await killed(oona, 5)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(delivered(oona, ack_wait_s=0.05), 0.5)
    async with open_log(nats_server.url, keys=Keys("k"), types=TYPES, commands=TYPES) as later:
        warden = asyncio.ensure_future(later.dead.bury_exhausted())
        [letter] = await until_buried(later, 1)
        warden.cancel()
        await asyncio.wait({warden})
    assert letter.deliveries == 5


async def test_a_retried_letter_is_the_same_command_again(oona: Oona):
    letter = await given_up(oona)
    await oona.dead.requeue(letter, 1)
    await oona.dead.requeue(letter, 1)
    again = await delivered(oona)
    assert again.record.command_id == letter.headers["Nats-Msg-Id"]
    assert again.record.command.value == "poison"
    assert again.record.issued_at_ns > letter.queued_at_ns
    await again.ack()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(delivered(oona), 0.3)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"data": b"\xff\xff"}, "undecodable"),
        ({"stream": "ESPER_EVENTS"}, "no command"),
        ({"consumer": "urza"}, "meant for 'tezzeret'"),
    ],
)
async def test_what_is_no_genuine_command_is_not_retried(oona: Oona, change: dict[str, object], why: str):
    letter = msgspec.structs.replace(await given_up(oona), **change)
    with pytest.raises(NotRetryable, match=why):
        await oona.dead.requeue(letter, 1)


async def test_a_letter_whose_deadline_passed_is_not_retried(oona: Oona):
    await oona.bus.send(command("late", deadline_ns=1))
    [letter] = await until_buried(oona, 1)
    assert letter.reason == "expired"
    with pytest.raises(NotRetryable, match="deadline passed"):
        await oona.dead.requeue(letter, 1)


async def test_a_forgotten_letter_is_gone_and_forgetting_again_is_harmless(oona: Oona):
    letter = await given_up(oona)
    await oona.dead.forget(letter)
    await oona.dead.forget(letter)
    assert await oona.dead.all() == []


async def test_a_message_buried_twice_is_one_letter(oona: Oona):
    await oona.bus.send(command("poison"))
    delivery = await delivered(oona)
    await delivery.dead_letter("no")
    await delivery.dead_letter("no")
    assert len(await oona.dead.all()) == 1
