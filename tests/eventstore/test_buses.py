"""Both buses keep the same promises."""

from collections.abc import AsyncGenerator

import pytest

from eventstore.memory import MemoryBus, MemoryStore
from eventstore.oona import Oona, open_log
from eventstore.oona.server import LocalServer
from eventstore.signing import Keys
from eventstore.store import EventStore
from tests.eventstore.bus_contract import Bus, BusContract
from tests.eventstore.vocabulary import TYPES


class TestMemoryBus(BusContract):
    @pytest.fixture
    def store(self) -> EventStore:
        return MemoryStore(TYPES)

    @pytest.fixture
    def bus(self, store: MemoryStore) -> Bus:
        return MemoryBus(store)


class TestOonaBus(BusContract):
    @pytest.fixture
    async def oona(self, nats_server: LocalServer) -> AsyncGenerator[Oona, None]:
        async with open_log(nats_server.url, keys=Keys("k"), types=TYPES, commands=TYPES) as oona:
            yield oona

    @pytest.fixture
    def store(self, oona: Oona) -> EventStore:
        return oona.store

    @pytest.fixture
    def bus(self, oona: Oona) -> Bus:
        return oona.bus
