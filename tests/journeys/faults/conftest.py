"""Logs on real servers that the tests kill, starve and cut off."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypedDict

import pytest

from eventstore.oona import Oona, open_log
from eventstore.oona.cluster import NODES, LocalCluster
from eventstore.oona.server import LocalServer
from eventstore.oona.streams import StreamSizes
from eventstore.signing import Keys
from eventstore.store import EventTypes
from tests.eventstore.vocabulary import TYPES


class Ring(TypedDict):
    keys: Keys
    types: EventTypes
    commands: EventTypes


RING: Ring = {"keys": Keys("k"), "types": TYPES, "commands": TYPES}
THREE = StreamSizes(replicas=NODES)


@asynccontextmanager
async def running(folder: Path, **settings: object) -> AsyncGenerator[LocalServer, None]:
    """Run a server in *folder*, durable unless *settings* say otherwise; it is killed at the end."""
    server = LocalServer(folder, settings=settings, tied=True)
    await server.start()
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncGenerator[LocalCluster, None]:
    cluster = LocalCluster(tmp_path / "cluster")
    await cluster.start()
    yield cluster
    await cluster.stop()


@pytest.fixture
async def log(own_nats_server: LocalServer) -> AsyncGenerator[Oona, None]:
    async with open_log(own_nats_server.url, **RING) as oona:
        yield oona


@pytest.fixture
async def replicated(cluster: LocalCluster) -> AsyncGenerator[Oona, None]:
    async with open_log(cluster.url, **RING, sizes=THREE) as oona:
        yield oona
