"""A log with a whole run in it, and the file it is projected into."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.projector import CATALOGUE
from esper.leyline.registry import EVENTS
from eventstore.memory import MemoryStore
from eventstore.projection.runner import catch_up
from eventstore.projection.sink import Sink
from tests.projection.history import tell_run


@pytest.fixture
async def store() -> MemoryStore:
    store = MemoryStore(EVENTS)
    await tell_run(store)
    return store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "projections.duckdb"


@pytest.fixture
def sink(path: Path) -> Iterator[Sink]:
    sink = Sink(path, CATALOGUE)
    yield sink
    sink.close()


@pytest.fixture
async def filled(store: MemoryStore, sink: Sink) -> Sink:
    await catch_up(store, sink)
    return sink
