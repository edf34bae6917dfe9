"""Fixtures that every part of the tests may ask for."""

import asyncio
from collections.abc import Iterator

import nats
import pytest
from hypothesis import HealthCheck, settings

from eventstore.oona.server import LocalServer

# How long an example takes, or its making, tells of the machine's load and not of the code.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


@pytest.fixture(scope="session")
def shared_nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    server = LocalServer(tmp_path_factory.mktemp("nats"))
    asyncio.run(server.start())
    yield server
    asyncio.run(server.stop())


@pytest.fixture
def nats_server(shared_nats_server: LocalServer) -> LocalServer:
    """A real nats-server without any stream; do not stop it."""
    asyncio.run(delete_streams(shared_nats_server.url))
    return shared_nats_server


@pytest.fixture
def own_nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """A real nats-server that the test may stop, kill and start again."""
    server = LocalServer(tmp_path_factory.mktemp("nats"))
    asyncio.run(server.start())
    yield server
    asyncio.run(server.stop())


async def delete_streams(url: str) -> None:
    """Leave nothing of a log on the server."""
    client = await nats.connect(url)
    for stream in await client.jsm().streams_info():
        await client.jsm().delete_stream(str(stream.config.name))
    await client.close()
