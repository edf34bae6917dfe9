"""The server dies, stalls and comes back: nothing acknowledged is lost, nothing hangs."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from eventstore.commit import CommitCodec
from eventstore.errors import StoreUnavailable
from eventstore.oona import Oona, open_log
from eventstore.oona.connection import Connection
from eventstore.oona.jetstream import JetStream
from eventstore.oona.server import LocalServer
from eventstore.oona.store import OonaStore
from eventstore.signing import Keys
from eventstore.store import CommandDelivery, Recorded
from tests.eventstore.vocabulary import SEED, TYPES, command, context, said, words

ROUNDS = 4


async def write_until_silence(oona: Oona, version: int, acknowledged: list[Recorded]) -> None:
    while True:
        try:
            appended = await oona.store.append(SEED, said("x"), expected=version, context=context())
        except StoreUnavailable:
            return
        acknowledged.extend(appended.events)
        version = appended.events[-1].version


async def until_connected(oona: Oona) -> None:
    async with asyncio.timeout(20):
        while not oona.connected:
            await asyncio.wait({asyncio.ensure_future(asyncio.Event().wait())}, timeout=0.05)


async def until_command(commands: AsyncGenerator[CommandDelivery, None], word: str) -> None:
    """Acknowledge commands up to *word*; a killed server may have forgotten the last acknowledgements."""
    async for delivery in commands:
        await delivery.ack()
        if delivery.record.command.value == word:
            return


async def test_no_acknowledged_event_is_lost_when_the_server_is_killed(mortal_oona: Oona, own_nats_server: LocalServer):
    acknowledged: list[Recorded] = []
    for _ in range(ROUNDS):
        version = len(await mortal_oona.store.read_stream(SEED))
        async with asyncio.timeout(30), asyncio.TaskGroup() as tasks, aclosing(mortal_oona.store.follow()) as following:
            before = len(acknowledged)
            tasks.create_task(write_until_silence(mortal_oona, version, acknowledged))
            async for event in following:
                if event.version > version + 30:
                    break
            own_nats_server.kill()
        assert len(acknowledged) > before
        await own_nats_server.start()
        await until_connected(mortal_oona)
    stored = {event.event_id: event for event in [event async for event in mortal_oona.store.read_all()]}
    assert all(stored[event.event_id] == event for event in acknowledged)
    assert len(stored) - len(acknowledged) <= ROUNDS


async def test_while_the_server_is_down_every_request_is_refused_at_once(
    mortal_oona: Oona, own_nats_server: LocalServer
):
    await mortal_oona.store.append(SEED, said("a"), expected=0, context=context())
    own_nats_server.kill()
    attempts = [
        mortal_oona.store.append(SEED, said("b"), expected=1, context=context()),
        mortal_oona.store.read_stream(SEED),
        mortal_oona.store.identity(),
        mortal_oona.bus.send(command()),
        mortal_oona.bus.ask("esper.ask.x", b"", timeout_s=60),
    ]
    began = time.monotonic()
    outcomes = await asyncio.gather(*attempts, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {StoreUnavailable}
    assert time.monotonic() - began < 2


async def test_a_refused_append_is_not_written_behind_the_callers_back(mortal_oona: Oona, own_nats_server: LocalServer):
    await mortal_oona.store.append(SEED, said("a"), expected=0, context=context())
    own_nats_server.kill()
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            await mortal_oona.store.append(SEED, said("b"), expected=1, context=context())
    await own_nats_server.start()
    await until_connected(mortal_oona)
    await mortal_oona.store.append(SEED, said("c"), expected=1, context=context())
    assert words(await mortal_oona.store.read_stream(SEED)) == ["a", "c"]


async def test_a_follower_goes_on_when_the_server_is_back(mortal_oona: Oona, own_nats_server: LocalServer):
    await mortal_oona.store.append(SEED, said("a"), expected=0, context=context())
    async with asyncio.timeout(30), aclosing(mortal_oona.store.follow()) as following:
        seen = [await anext(following)]
        own_nats_server.kill()
        await own_nats_server.start()
        await until_connected(mortal_oona)
        await mortal_oona.store.append(SEED, said("b"), expected=1, context=context())
        seen.append(await anext(following))
    assert words(seen) == ["a", "b"]


async def test_commands_and_questions_survive_the_server(mortal_oona: Oona, own_nats_server: LocalServer):
    await mortal_oona.bus.send(command("before"))
    bus = mortal_oona.bus
    async with (
        asyncio.timeout(30),
        aclosing(bus.commands("tezzeret")) as commands,
        aclosing(bus.requests("q")) as asked,
    ):
        await (await anext(commands)).ack()
        question = asyncio.ensure_future(anext(asked))
        following = asyncio.ensure_future(until_command(commands, "after"))
        own_nats_server.kill()
        await own_nats_server.start()
        await until_connected(mortal_oona)
        await bus.send(command("after"))
        await following
        asking = asyncio.ensure_future(bus.ask("q", b"?", timeout_s=5))
        await (await question).answer(b"!")
        assert await asking == b"!"


async def test_a_stalled_server_leaves_the_outcome_unknown_and_the_retry_finds_it_out(own_nats_server: LocalServer):
    connection, given = Connection(), context()
    async with open_log(own_nats_server.url, keys=Keys("k"), types=TYPES, commands=TYPES):
        pass
    await connection.open(own_nats_server.url, name="test")
    store = OonaStore(JetStream(connection, patience_s=0.1), CommitCodec(Keys("k"), TYPES))
    await store.append(SEED, said("a"), expected=0, context=context())
    os.kill(own_nats_server.pid or 0, signal.SIGSTOP)
    with pytest.raises(StoreUnavailable):
        await store.append(SEED, said("b"), expected=1, context=given)
    os.kill(own_nats_server.pid or 0, signal.SIGCONT)
    again = await store.append(SEED, said("b"), expected=1, context=given)
    assert again.duplicate
    assert words(await store.read_stream(SEED)) == ["a", "b"]
    await connection.close()


async def test_connecting_to_nobody_ends(unused_tcp_port: int):
    with pytest.raises(StoreUnavailable, match="connecting"):
        await Connection().open(f"nats://127.0.0.1:{unused_tcp_port}", name="test", wait_s=0.5)
