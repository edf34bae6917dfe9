"""Three nodes, and the network between the leader and the others is gone: the majority goes on, nothing is lost."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import stamina

from eventstore.errors import StoreUnavailable
from eventstore.oona import Oona, open_log
from eventstore.oona.connection import Connection
from eventstore.oona.server import LocalServer
from eventstore.oona.streams import EVENTS
from eventstore.store import StreamName
from tests.eventstore.vocabulary import context, said
from tests.journeys.faults.conftest import RING, THREE
from tests.journeys.faults.ledger import Ledger, tell
from tests.journeys.faults.networks import join, network, node, part, require_networks

NODES = 3
EACH_TIME = 40
PATIENCE_S = 60.0


@asynccontextmanager
async def apart(folder: Path) -> AsyncGenerator[list[LocalServer], None]:
    """Run a cluster whose nodes are in namespaces of their own."""
    with network(NODES):
        servers = [node(folder, number, NODES) for number in range(1, NODES + 1)]
        try:
            await asyncio.gather(*(server.start(wait_s=30) for server in servers))
            yield servers
        finally:
            for server in servers:
                server.kill()


async def leader(url: str) -> int:
    """Return the number of the node that leads the stream of record, as *url* knows it."""
    connection = Connection()
    await connection.open(url, name="test")
    try:
        retries = stamina.retry_context(on=StoreUnavailable, attempts=None, timeout=PATIENCE_S, wait_max=0.5)
        async for attempt in retries:
            with attempt:
                answer = await connection.request(f"$JS.API.STREAM.INFO.{EVENTS}", b"", doing="asking")
                return int(msgspec.json.decode(answer.data)["cluster"]["leader"].removeprefix("n"))
    finally:
        await connection.close()
    raise AssertionError("a retry context ends by returning or raising")


async def unheard(log: Oona) -> str:
    """Append where there is no majority and return how it ended."""
    try:
        await log.store.append(StreamName("seed", "alone"), said("x"), expected=0, context=context("f" * 32))
    except StoreUnavailable:
        return "unavailable"
    return "acknowledged"


async def test_a_leader_without_its_followers_acknowledges_nothing_and_the_others_go_on(tmp_path: Path):
    require_networks()
    ledger, stop = Ledger(), asyncio.Event()
    async with apart(tmp_path) as servers, open_log(",".join(one.url for one in servers), **RING, sizes=THREE):
        old = await leader(servers[0].url)
        others = [number for number in range(1, NODES + 1) if number != old]
        async with (
            open_log(servers[old - 1].url, **RING, sizes=THREE) as with_old,
            open_log(servers[others[0] - 1].url, **RING, sizes=THREE) as with_others,
            asyncio.TaskGroup() as tasks,
        ):
            for number, log in enumerate((with_old, with_others)):
                tasks.create_task(ledger.write(log.store, StreamName("seed", f"w{number}"), stop))
            await ledger.until(2 * EACH_TIME)
            part(old, others)
            alone = await unheard(with_old)
            # The majority elects a new leader and its writer goes on, while the other writer waits.
            before = len(ledger.acknowledged)
            await asyncio.wait_for(ledger.until(before + EACH_TIME), PATIENCE_S)
            new = await leader(servers[others[0] - 1].url)
            still_alone = await unheard(with_old)
            join(old, others)
            await asyncio.wait_for(ledger.until(len(ledger.acknowledged) + 2 * EACH_TIME), PATIENCE_S)
            await ledger.append(with_old.store, StreamName("seed", "after"), "x", 0)
            stop.set()
        async with open_log(servers[old - 1].url, **RING, sizes=THREE) as log:
            verdict = await ledger.compare(log.store)
    told = f"leader n{old} cut off: {alone}, then {still_alone}; led by n{new} meanwhile, {ledger.retries} retries"
    tell(told, verdict)
    assert alone == still_alone == "unavailable"
    assert new != old
    assert verdict.sound
