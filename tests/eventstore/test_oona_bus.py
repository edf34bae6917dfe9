"""What does not belong in a queue ends among the dead letters, once, as it came."""

import asyncio
from contextlib import aclosing

import nats
import pytest

from eventstore.commands import CommandCodec
from eventstore.errors import AnswerTooLarge, LogCorrupt, LogMisconfigured
from eventstore.oona import Oona, connect, open_log
from eventstore.oona.server import MAX_PAYLOAD_BYTES, LocalServer
from eventstore.signing import Keys
from eventstore.store import CommandDelivery
from eventstore.subjects import of_stream, of_target
from eventstore.v1.command_pb2 import SignedCommand
from tests.eventstore.vocabulary import FEWER_TYPES, SEED, TYPES, command, context, said

GENUINE = CommandCodec(Keys("k"), TYPES)
UNFIT = {
    "wrong signature": lambda: GENUINE.seal(command())[:-1] + b"?",
    "it is not signed": lambda: SignedCommand(command=b"x").SerializeToString(),
    "no signing key": lambda: CommandCodec(Keys("forger"), TYPES).seal(command()),
    "undecodable": lambda: b"\xff\xff\xff",
    "meant for 'urza'": lambda: GENUINE.seal(command(target="urza")),
    "expired": lambda: GENUINE.seal(command(deadline_ns=1)),
}


async def publish(server: LocalServer, data: bytes, headers: dict[str, str] | None = None) -> None:
    client = await nats.connect(server.url)
    await client.jetstream().publish(of_target("tezzeret"), data, headers=headers)
    await client.close()


async def following(oona: Oona, word: str) -> CommandDelivery:
    """Send one more command and return what is delivered next."""
    await oona.bus.send(command(word))
    async with asyncio.timeout(20), aclosing(oona.bus.commands("tezzeret")) as commands:
        return await anext(commands)


@pytest.mark.parametrize("reason", UNFIT)
async def test_an_unfit_command_is_buried_with_its_reason_and_the_next_one_delivered(
    oona: Oona, nats_server: LocalServer, reason: str
):
    unfit = UNFIT[reason]()
    await publish(nats_server, unfit, {"Traced": "yes"})
    assert (await following(oona, "next")).record.command.value == "next"
    [dead] = await oona.dead.all()
    assert reason in dead.error
    assert (dead.data, dict(dead.headers)) == (unfit, {"Traced": "yes"})
    assert (dead.stream, dead.consumer, dead.position, dead.deliveries) == ("ESPER_COMMANDS", "tezzeret", 1, 1)


async def test_a_command_of_a_type_this_program_does_not_know_is_buried(oona: Oona, nats_server: LocalServer):
    await oona.bus.send(command())
    async with open_log(nats_server.url, keys=Keys("k"), types=TYPES, commands=FEWER_TYPES) as old:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5), aclosing(old.bus.commands("tezzeret")) as commands:
                await anext(commands)
    [dead] = await oona.dead.all()
    assert "unknown type 'google.protobuf.StringValue'" in dead.error


async def test_a_command_its_actor_gives_up_is_buried_and_never_comes_again(oona: Oona):
    delivery = await following(oona, "poison")
    await delivery.dead_letter("it killed\nthe compiler")
    assert (await following(oona, "next")).record.command.value == "next"
    [dead] = await oona.dead.all()
    assert dead.error == "it killed the compiler"


async def test_a_buried_command_keeps_its_id(oona: Oona):
    delivery = await following(oona, "poison")
    await delivery.dead_letter("no")
    [dead] = await oona.dead.all()
    assert dead.headers["Nats-Msg-Id"] == delivery.record.command_id


async def test_a_command_is_not_lost_when_its_actor_dies_with_it(oona: Oona, nats_server: LocalServer):
    await oona.bus.send(command("fragile"))
    dying = await connect(nats_server.url, keys=Keys("k"), types=TYPES, commands=TYPES)
    await anext(dying.bus.commands("tezzeret", ack_wait_s=0.2))
    await dying.close()
    async with asyncio.timeout(20), aclosing(oona.bus.commands("tezzeret", ack_wait_s=0.2)) as commands:
        delivery = await anext(commands)
    assert (delivery.record.command.value, delivery.attempt) == ("fragile", 2)


async def test_a_reactor_stops_at_a_forged_commit(oona: Oona, nats_server: LocalServer):
    await oona.store.append(SEED, said("a"), expected=0, context=context())
    client = await nats.connect(nats_server.url)
    await client.jetstream().publish(of_stream(SEED), b"forged")
    await client.close()
    async with asyncio.timeout(20), aclosing(oona.bus.events("reactor", ["seed"])) as deliveries:
        await (await anext(deliveries)).ack()
        with pytest.raises(LogCorrupt):
            await anext(deliveries)


async def test_a_reactor_cannot_silently_change_what_it_reads(oona: Oona):
    await oona.store.append(SEED, said("a"), expected=0, context=context())
    async with asyncio.timeout(20), aclosing(oona.bus.events("reactor", ["seed"])) as deliveries:
        await anext(deliveries)
    wider = oona.bus.events("reactor", ["seed", "run"])
    with pytest.raises(LogMisconfigured, match="filter_subjects"):
        await anext(wider)


async def test_an_answer_that_is_too_large_is_refused_on_the_serving_side(oona: Oona):
    async with asyncio.timeout(20), aclosing(oona.bus.requests("q")) as requests:
        serving = asyncio.ensure_future(anext(requests))
        asking = await ask_until_heard(oona, serving)
        request = serving.result()
        with pytest.raises(AnswerTooLarge):
            await request.answer(b"x" * (MAX_PAYLOAD_BYTES + 1))
        await request.answer(b"less")
        assert await asking == b"less"


async def ask_until_heard(oona: Oona, serving: "asyncio.Future[object]") -> "asyncio.Future[bytes]":
    while True:
        asking = asyncio.ensure_future(oona.bus.ask("q", b"", timeout_s=5))
        await asyncio.wait({asking, serving}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            return asking
