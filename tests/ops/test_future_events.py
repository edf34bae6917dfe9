"""A log that a later version has written to: every reader stops there, says so, and serves what it understands."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import pytest
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import StringValue

from actors.place import Place
from actors.projector import CATALOGUE
from esper.leyline.registry import COMMANDS, EVENTS, Vocabulary
from esper.leyline.v1.enums_pb2 import DecisionAction
from eventstore.errors import UnknownEventType
from eventstore.oona import Oona, open_log
from eventstore.oona.server import LocalServer
from eventstore.projection.live import LiveProjections, Question
from eventstore.signing import Keys
from eventstore.store import Recorded, StreamName
from tests.ops.conftest import Esper
from tests.ops.story import Teller, tell_story

STREAM = StreamName("invention", "x")
HEAD = 35
LAST = "select max(position) from events"


def later_language() -> Vocabulary:
    """Return today's language with one more type."""
    kinds: dict[type[Message], int] = {StringValue: 1}
    for name in EVENTS.names():
        found = EVENTS.lookup(name)
        assert found is not None
        kinds[found[0]] = found[1]
    return Vocabulary(kinds)


async def tell_and_invent(log: Oona) -> None:
    """Tell the story, then record what only a later version can."""
    await invent(await tell_story(log.store))


async def invent(teller: Teller) -> None:
    """Record a type that only a later version knows, and something that everybody knows after it."""
    await teller.record(STREAM, StringValue(value="a kind of event that does not exist yet"))
    await teller.decide(DecisionAction.DECISION_ACTION_WAIT, "s0", 12, "")


@pytest.fixture(scope="module")
def ahead(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose log a later version has written to."""
    folder = tmp_path_factory.mktemp("ahead") / ".esper"
    asyncio.run(_tell_ahead(folder))
    return folder


async def _tell_ahead(folder: Path) -> None:
    place = Place.at(folder, {})
    server = LocalServer(place.folder, tied=True)
    await server.start()
    async with open_log(server.url, keys=place.keys, types=later_language(), commands=COMMANDS) as log:
        await tell_and_invent(log)
    await server.stop()


async def last_before_unknown(events: AsyncGenerator[Recorded, None]) -> int:
    """Read until an unknown type stops it, and return the position of the last event before."""
    position = 0
    try:
        async for recorded in events:
            position = recorded.position
    except UnknownEventType:
        return position
    raise AssertionError("the unknown type was skipped")


async def test_a_reader_and_a_follower_park_at_it(nats_server: LocalServer) -> None:
    async with open_log(nats_server.url, keys=Keys("k"), types=later_language(), commands=COMMANDS) as later:
        await tell_and_invent(later)
    async with open_log(nats_server.url, keys=Keys("k"), types=EVENTS, commands=COMMANDS) as log:
        for reading in (log.store.read_all(), log.store.follow()):
            async with aclosing(reading) as events:
                assert await last_before_unknown(events) == HEAD


async def test_the_projections_halt_at_it_and_say_so_in_every_answer(nats_server: LocalServer, tmp_path: Path) -> None:
    ring = {"keys": Keys("k"), "commands": COMMANDS}
    async with (
        open_log(nats_server.url, types=later_language(), **ring) as later,
        open_log(nats_server.url, types=EVENTS, **ring) as log,
    ):
        live = await LiveProjections.open(log.store, tmp_path / "p.duckdb", CATALOGUE)
        following = asyncio.create_task(live.follow())
        teller = await tell_story(later.store)
        before = await live.ask(Question(sql=LAST, min_position=HEAD, wait_s=30))
        await invent(teller)
        after = await live.ask(Question(sql=LAST, min_position=HEAD + 1, wait_s=30))
        following.cancel()
        await asyncio.wait({following})
        await live.close()
    assert (before.rows, before.halted, after.rows) == ([[HEAD]], None, [[HEAD]])
    assert after.halted is not None
    assert (after.halted.fault, after.halted.position) == ("UnknownEventType", HEAD)
    assert "google.protobuf.StringValue v1, unknown to this program: upgrade it" in after.halted.detail


def test_the_commands_name_the_position_and_exit_with_no(esper: Esper, ahead: Path) -> None:
    ran = esper("events", "latest", "--folder", str(ahead))
    assert ran.code == 1
    assert f"position {HEAD + 1} holds google.protobuf.StringValue v1, unknown to this program" in ran.err


def test_verify_reports_it_as_the_first_fault(esper: Esper, ahead: Path) -> None:
    ran = esper("log", "verify", "--folder", str(ahead), "--json")
    (row,) = ran.rows()
    fault = row["fault"]
    assert ran.code == 1
    assert fault == {
        "position": HEAD + 1,
        "kind": "type",
        "expected": "one that this program knows",
        "found": "google.protobuf.StringValue v1",
    }


def test_what_lies_before_it_can_be_asked_and_replayed(esper: Esper, ahead: Path) -> None:
    ran = esper("query", LAST, "--folder", str(ahead))
    assert ran.code == 0
    assert "unknown to this program" in ran.err
    assert esper("replay", "latest", "--at", str(HEAD), "--folder", str(ahead)).code == 0
