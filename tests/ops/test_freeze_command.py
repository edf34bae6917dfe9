"""`esper freeze` and `thaw`."""

import asyncio
from pathlib import Path

import pytest

from actors.place import Place
from esper.leyline.registry import COMMANDS, EVENTS
from eventstore.oona import open_log
from eventstore.oona.server import LocalServer
from tests.ops.conftest import OTHER_RUN_ID, Esper
from tests.ops.story import Teller


@pytest.fixture
def begun(tmp_path: Path) -> str:
    """A folder whose log holds a run that has begun."""
    folder = tmp_path / ".esper"
    asyncio.run(_begin(folder))
    return str(folder)


async def _begin(folder: Path) -> None:
    place = Place.at(folder, {})
    server = LocalServer(place.folder, tied=True)
    await server.start()
    async with open_log(server.url, keys=place.keys, types=EVENTS, commands=COMMANDS) as log:
        await Teller(log.store, OTHER_RUN_ID).start()
    await server.stop()


def test_a_run_is_frozen_and_thawed_and_says_when_it_was_so_already(esper: Esper, begun: str):
    for name, frozen in (("freeze", True), ("thaw", False), ("freeze", True)):
        (row,) = esper(name, "f3b2", "--reason", "a drill", "--json", "--folder", begun).rows()
        assert (row["run_id"], row["frozen"]) == (OTHER_RUN_ID, frozen)
        assert row["position"]
    assert "was frozen already" in esper("freeze", "latest", "--folder", begun).out
    told = esper("events", "latest", "--folder", begun).out
    assert told.count("growth is frozen: a drill") == 2
    assert told.count("growth goes on: a drill") == 1


def test_what_cannot_be_frozen_is_named(esper: Esper):
    assert "is finished" in esper("freeze", "latest").err
    assert "no run 'abc'" in esper("thaw", "abc").err
