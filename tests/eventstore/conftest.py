"""Logs on a real server."""

from collections.abc import AsyncGenerator

import pytest

from eventstore.oona import Oona, open_log
from eventstore.oona.server import LocalServer
from eventstore.signing import Keys
from tests.eventstore.vocabulary import TYPES


@pytest.fixture
async def oona(nats_server: LocalServer) -> AsyncGenerator[Oona, None]:
    async with open_log(nats_server.url, keys=Keys("k"), types=TYPES, commands=TYPES) as oona:
        yield oona


@pytest.fixture
async def second_oona(oona: Oona, nats_server: LocalServer) -> AsyncGenerator[Oona, None]:
    """Another process's connection to the same log, which has seen nothing of it yet."""
    async with open_log(nats_server.url, keys=Keys("k"), types=TYPES, commands=TYPES) as oona:
        yield oona


@pytest.fixture
async def mortal_oona(own_nats_server: LocalServer) -> AsyncGenerator[Oona, None]:
    """A log on a server that the test may kill."""
    async with open_log(own_nats_server.url, keys=Keys("k"), types=TYPES, commands=TYPES) as oona:
        yield oona
