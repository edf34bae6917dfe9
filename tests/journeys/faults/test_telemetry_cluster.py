"""Telemetry on three nodes while one dies: each message is accounted for, and what was acknowledged is there."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing

import stamina

from eventstore.errors import StoreUnavailable
from eventstore.oona import Oona
from eventstore.oona.cluster import LocalCluster
from eventstore.oona.telemetry import SendSettings, TelemetryPublisher

MANY, AT_ONCE, NORMAL = 20_000, 200, 2
PATIENCE_S = 60.0
QUICK = SendSettings(capacity=MANY, batch=1_000, ack_wait_s=2.0, pause_s=0.1)


def offer(publisher: TelemetryPublisher, first: int, last: int) -> None:
    for number in range(first, last):
        publisher.offer("esper.tel.tolaria.r1", b"%d" % number, NORMAL)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - what settles a message sets no event
        await asyncio.sleep(0)


async def heard_up_to(log: Oona, last: int) -> list[int]:
    """Return what was stored; just after a node has died, there may be nobody to make a reader."""
    async for attempt in stamina.retry_context(on=StoreUnavailable, attempts=None, timeout=PATIENCE_S):
        found: list[int] = []
        with attempt:
            async with aclosing(log.telemetry.heard("ear")) as hearing:
                async for batch in hearing:
                    found.extend(int(one.packet) for one in batch.packets)
                    if found[-1] == last:
                        return found
    raise AssertionError("a retry context ends by returning or raising")


async def test_no_acknowledged_message_is_lost_when_a_node_dies(replicated: Oona, cluster: LocalCluster):
    publisher = replicated.telemetry.publisher(QUICK)
    async with asyncio.timeout(2 * PATIENCE_S), asyncio.TaskGroup() as group:
        sending = group.create_task(publisher.run())
        offer(publisher, 0, MANY // 2)
        await until(lambda: publisher.counts.stored >= AT_ONCE)
        cluster.nodes[0].kill()
        offer(publisher, MANY // 2, MANY)
        await until(lambda: not publisher.counts.waiting)
        stored = publisher.counts.stored
        while publisher.counts.stored == stored:
            offer(publisher, MANY, MANY + 1)
            await until(lambda: not publisher.counts.waiting)
        found = await heard_up_to(replicated, MANY)
        sending.cancel()
    counts = publisher.counts
    assert counts.offered == counts.stored + counts.lost > MANY
    assert found == sorted(set(found))
    assert counts.stored <= len(found) <= counts.stored + counts.lost
