"""Three nodes: the leader dies, nodes stall, all are restarted one by one; nothing acknowledged is lost."""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import stamina

from eventstore.blobs import FolderBlobs
from eventstore.errors import StoreUnavailable
from eventstore.oona import Oona
from eventstore.oona.backup import Ring, back_up, restore
from eventstore.oona.cluster import LocalCluster
from eventstore.oona.connection import Connection
from eventstore.oona.server import LocalServer
from eventstore.oona.streams import EVENTS
from eventstore.store import StreamName
from tests.eventstore.vocabulary import context, said
from tests.journeys.faults.conftest import RING, running
from tests.journeys.faults.ledger import Ledger, tell

WRITERS = 3
EACH_TIME = 60
PATIENCE_S = 30.0


class Lagging(Exception):
    """A follower has not everything yet."""


async def stream_info(url: str) -> dict[str, Any]:
    """Return what the stream's leader says of it, as soon as there is one."""
    connection = Connection()
    await connection.open(url, name="test")
    try:
        async for attempt in stamina.retry_context(on=StoreUnavailable, attempts=None, timeout=PATIENCE_S):
            with attempt:
                answer = await connection.request(f"$JS.API.STREAM.INFO.{EVENTS}", b"", doing="asking")
                return msgspec.json.decode(answer.data)
    finally:
        await connection.close()
    raise AssertionError("a retry context ends by returning or raising")


async def leader(cluster: LocalCluster) -> LocalServer:
    name = (await stream_info(cluster.url))["cluster"]["leader"]
    return cluster.nodes[int(name.removeprefix("n")) - 1]


async def until_all_are_current(cluster: LocalCluster) -> None:
    """Wait until every follower has everything: only then may the next node be taken away."""

    async for attempt in stamina.retry_context(on=Lagging, attempts=None, timeout=PATIENCE_S, wait_max=0.2):
        with attempt:
            replicas = (await stream_info(cluster.url))["cluster"].get("replicas", [])
            if len(replicas) < len(cluster.nodes) - 1 or not all(one["current"] for one in replicas):
                raise Lagging(replicas)


@asynccontextmanager
async def being_written(log: Oona, ledger: Ledger) -> AsyncGenerator[None, None]:
    """Append from several writers during the block."""
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for number in range(WRITERS):
            tasks.create_task(ledger.write(log.store, StreamName("seed", f"w{number}"), stop))
        yield
        await ledger.until(len(ledger.acknowledged) + EACH_TIME)
        stop.set()


async def kill_leaders(log: Oona, cluster: LocalCluster, kills: int) -> None:
    ledger = Ledger()
    async with being_written(log, ledger):
        for _ in range(kills):
            await ledger.until(len(ledger.acknowledged) + EACH_TIME)
            victim = await leader(cluster)
            victim.kill()
            await ledger.until(len(ledger.acknowledged) + EACH_TIME)
            await victim.start()
            await until_all_are_current(cluster)
    verdict = await ledger.compare(log.store)
    tell(f"leader killed {kills} times, {ledger.retries} retries", verdict)
    assert verdict.sound


async def test_a_leader_killed_while_appending_costs_nothing_that_was_acknowledged(
    replicated: Oona, cluster: LocalCluster
):
    await kill_leaders(replicated, cluster, 1)


@pytest.mark.slow
async def test_five_leaders_killed_while_appending_cost_nothing_that_was_acknowledged(
    replicated: Oona, cluster: LocalCluster
):
    await kill_leaders(replicated, cluster, 5)


async def test_a_rolling_restart_costs_nothing_that_was_acknowledged(replicated: Oona, cluster: LocalCluster):
    ledger = Ledger()
    async with being_written(replicated, ledger):
        for node in cluster.nodes:
            await ledger.until(len(ledger.acknowledged) + EACH_TIME)
            await node.stop()
            await node.start()
            await until_all_are_current(cluster)
    verdict = await ledger.compare(replicated.store)
    tell(f"rolling restart of {len(cluster.nodes)} nodes, {ledger.retries} retries", verdict)
    assert verdict.sound


@pytest.mark.slow
async def test_a_stalled_minority_stops_nobody_and_a_stalled_majority_loses_nothing(
    replicated: Oona, cluster: LocalCluster
):
    ledger = Ledger()
    async with being_written(replicated, ledger):
        for stalled in (1, 2):
            await ledger.until(len(ledger.acknowledged) + EACH_TIME)
            pids = [node.pid or 0 for node in cluster.nodes[:stalled]]
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            before = len(ledger.acknowledged)
            if stalled == 1:
                await ledger.until(before + EACH_TIME)
            else:
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(ledger.until(before + EACH_TIME), timeout=3)
                assert len(ledger.acknowledged) - before < EACH_TIME
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
    verdict = await ledger.compare(replicated.store)
    tell(f"one node, then two of three stalled, {ledger.retries} retries", verdict)
    assert verdict.sound


async def test_the_log_of_a_cluster_is_backed_up_and_put_onto_one_server(
    cluster: LocalCluster, replicated: Oona, tmp_path: Path
):
    for version in range(5):
        await replicated.store.append(StreamName("seed", "b"), said("x"), expected=version, context=context())
    ring = Ring(RING["keys"], RING["types"])
    backup = await back_up(
        cluster.url, FolderBlobs(tmp_path / "blobs"), tmp_path / "backup", ring, now_ns=1, environ=os.environ
    )
    async with running(tmp_path / "alone") as server:
        checked = await restore(
            tmp_path / "backup", server.url, tmp_path / "there", ring, progress=lambda done, of: None
        )
    assert (backup.checked.commits, checked.commits, checked.fault) == (5, 5, None)
