"""Actors beside a log in memory, and what an actor is called."""

import asyncio
from pathlib import Path

import pytest

from actors.clock import SystemClock
from actors.place import Place
from actors.projector import QUERIES
from actors.roster import ROSTER, Entry, entry
from actors.weatherlight import host_in_process
from esper.leyline.registry import EVENTS
from esper.leyline.v1.actor_pb2 import ActorStarted
from eventstore.memory import MemoryBus, MemoryStore
from tests.actors.flaky_actor import run_flaky


class MemoryLog:
    durable = False

    def __init__(self) -> None:
        self.store = MemoryStore(EVENTS)
        self.bus = MemoryBus(self.store)


async def test_an_actor_that_fails_is_started_again_until_it_works(tmp_path: Path):
    log, flaky = (
        MemoryLog(),
        Entry(name="flaky", module=run_flaky.__module__, function="run_flaky", aggregate_id="flaky"),
    )
    hosting = asyncio.create_task(host_in_process(log, Place.at(tmp_path, {}), SystemClock(), roster=[flaky]))
    async with asyncio.timeout(20):
        async for recorded in log.store.follow():
            assert isinstance(recorded.event, ActorStarted)
            if recorded.event.epoch == 3:
                break
    hosting.cancel()
    assert await asyncio.gather(hosting, return_exceptions=True)


def test_an_actor_nobody_knows_is_answered_with_those_there_are():
    with pytest.raises(ValueError, match="librarian, forge, warden, projector"):
        entry("cook")


def test_the_projector_is_ready_when_it_answers_queries():
    assert entry("projector").serves == QUERIES
    assert [actor.name for actor in ROSTER if actor.needs_disk] == ["projector"]
