"""Settled commands make room after a while; one that nobody has settled is never dropped."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager

import nats

from eventstore.errors import LogFull
from eventstore.oona import Oona, open_log
from eventstore.oona.server import LocalServer
from eventstore.oona.streams import COMMANDS, StreamSizes
from eventstore.oona.sweeping import DAY_S, Keeping
from eventstore.signing import Keys
from tests.eventstore.vocabulary import TYPES, command

MONTH_S = 31 * 24 * 3600
SMALL_BYTES = 32 * 1024


@asynccontextmanager
async def undertaker(oona: Oona) -> AsyncGenerator[None, None]:
    """Bury what was given up, as the warden does."""
    burying = asyncio.ensure_future(oona.dead.bury_exhausted())
    client = await nats.connect(oona_url(oona))
    while not await client.jsm().consumers_info("ESPER_ADVISORY"):
        await asyncio.wait({burying}, timeout=0.01)
    await client.close()
    yield
    burying.cancel()
    await asyncio.wait({burying})


def oona_url(oona: Oona) -> str:
    return str(oona._connection._client.connected_url.geturl())  # pyright: ignore[reportPrivateUsage]


def in_a_month() -> int:
    return time.time_ns() + MONTH_S * 10**9


async def settle(oona: Oona, many: int, target: str = "tezzeret", **settings: object) -> None:
    """Acknowledge the next *many* commands of *target*."""
    async with asyncio.timeout(30), aclosing(oona.bus.commands(target, **settings)) as commands:
        for _ in range(many):
            await (await anext(commands)).ack()


async def fill(oona: Oona) -> int:
    """Send until the stream is full, and return how many commands it took."""
    for sent in range(1000):
        try:
            await oona.bus.send(command("x" * 500))
        except LogFull:
            return sent
    raise AssertionError("a stream of 32 KiB took 1000 commands")


async def stored(url: str) -> int:
    client = await nats.connect(url)
    info = await client.jsm().stream_info(COMMANDS)
    await client.close()
    return info.state.messages


async def test_only_what_its_reader_settled_long_ago_goes(oona: Oona, nats_server: LocalServer):
    for target, many in (("tezzeret", 4), ("urza", 2), ("nobody", 1)):
        for _ in range(many):
            await oona.bus.send(command(target=target))
    await settle(oona, 3)
    await settle(oona, 2, "urza")
    async with undertaker(oona):
        assert await oona.settled.sweep(Keeping(), now_ns=time.time_ns()) == {}
        assert await oona.settled.sweep(Keeping(), now_ns=in_a_month()) == {"tezzeret": 3, "urza": 2}
        assert await oona.settled.sweep(Keeping(), now_ns=in_a_month()) == {}
    assert await stored(nats_server.url) == 2
    await settle(oona, 1)
    await settle(oona, 1, "nobody")


async def test_a_command_behind_an_unsettled_one_stays_too(oona: Oona, nats_server: LocalServer):
    for _ in range(3):
        await oona.bus.send(command())
    async with aclosing(oona.bus.commands("tezzeret")) as commands:
        held = await anext(commands)
        await (await anext(commands)).ack()
        async with undertaker(oona):
            assert await oona.settled.sweep(Keeping(), now_ns=in_a_month()) == {}
            await held.ack()
            assert await oona.settled.sweep(Keeping(), now_ns=in_a_month()) == {"tezzeret": 2}
    assert await stored(nats_server.url) == 1


async def test_those_of_the_last_days_are_kept_as_evidence(oona: Oona):
    moments = []
    for many in (2, 3):
        for _ in range(many):
            await oona.bus.send(command())
        await settle(oona, many)
        moments.append(time.time_ns() + 30 * DAY_S * 10**9)
    async with undertaker(oona):
        assert [await oona.settled.sweep(Keeping(), now_ns=now) for now in moments] == [
            {"tezzeret": 2},
            {"tezzeret": 3},
        ]


async def test_a_full_stream_refuses_and_takes_again_after_a_sweep(nats_server: LocalServer):
    sizes = StreamSizes(commands_bytes=SMALL_BYTES)
    async with open_log(nats_server.url, keys=Keys("k"), types=TYPES, commands=TYPES, sizes=sizes) as oona:
        sent = await fill(oona)
        async with undertaker(oona):
            fresh = Keeping(least_seconds=0)
            assert await oona.settled.sweep(fresh, now_ns=time.time_ns()) == {}
            await settle(oona, sent - 1)
            assert await oona.settled.sweep(Keeping(), now_ns=time.time_ns()) == {}
            assert await oona.settled.sweep(fresh, now_ns=time.time_ns()) == {"tezzeret": sent - 1}
            await oona.bus.send(command("x" * 500))
            await settle(oona, 2)


async def test_a_command_that_killed_its_reader_is_swept_only_after_it_was_buried(oona: Oona):
    deadly = {"ack_wait_s": 0.05, "deliveries_at_most": 2}
    await oona.bus.send(command("deadly"))
    for _ in range(2):
        async with asyncio.timeout(20), aclosing(oona.bus.commands("tezzeret", **deadly)) as commands:
            await anext(commands)
    await oona.bus.send(command("harmless"))
    await settle(oona, 1, **deadly)
    assert await oona.settled.sweep(Keeping(), now_ns=in_a_month()) == {}
    swept = 0
    async with undertaker(oona), asyncio.timeout(20), aclosing(oona.bus.commands("tezzeret", **deadly)) as commands:
        # The server says that it gave up only when the message would be due again.
        reading = asyncio.ensure_future(anext(commands))
        while swept < 2:
            swept += (await oona.settled.sweep(Keeping(), now_ns=in_a_month())).get("tezzeret", 0)
            assert not swept or [letter.reason for letter in await oona.dead.all()] == ["exhausted"]
            await asyncio.wait({reading}, timeout=0.05)
        reading.cancel()
        await asyncio.wait({reading})
