"""Both stores keep the same promises."""

from collections.abc import AsyncGenerator

import pytest

from eventstore.memory import MemoryStore
from eventstore.oona import open_log
from eventstore.oona.server import LocalServer
from eventstore.signing import Keys
from eventstore.store import EventStore
from tests.eventstore.store_contract import EventStoreContract
from tests.eventstore.vocabulary import TYPES


class TestMemoryStore(EventStoreContract):
    @pytest.fixture
    def store(self) -> EventStore:
        return MemoryStore(TYPES)


class TestOonaStore(EventStoreContract):
    @pytest.fixture
    async def store(self, nats_server: LocalServer) -> AsyncGenerator[EventStore, None]:
        async with open_log(nats_server.url, keys=Keys("k"), types=TYPES, commands=TYPES) as oona:
            yield oona.store
