"""`esper dead`: list, show, retry and drop, on the log of a folder without a stack."""

import asyncio
import time
from contextlib import aclosing
from pathlib import Path

import pytest

from actors.place import Place
from esper.leyline.registry import COMMANDS, EVENTS
from eventstore.oona import open_log
from eventstore.oona.server import LocalServer
from eventstore.subjects import of_target
from tests.actors.workshop import kernel_spec, request
from tests.ops.conftest import Esper


@pytest.fixture
def graveyard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, esper: Esper) -> Path:
    """A log with two dead letters: a request that was given up, and a message that is none."""
    folder = tmp_path / ".esper"
    asyncio.run(_bury_two(folder))
    monkeypatch.setenv("ESPER_HOME", str(folder))
    return folder


async def _bury_two(folder: Path) -> None:
    place = Place.at(folder, {})
    server = LocalServer(place.folder, tied=True)
    await server.start()
    async with open_log(server.url, keys=place.keys, types=EVENTS, commands=COMMANDS) as log:
        await request(log.bus, kernel_spec("BP001"))
        async with asyncio.timeout(20), aclosing(log.bus.commands("urza")) as commands:
            await (await anext(commands)).dead_letter("the library is closed")
            await log.bus.ask(of_target("urza"), b"no command", timeout_s=5)
            reading = asyncio.ensure_future(anext(commands))
            deadline = time.monotonic() + 20
            while len(await log.dead.all()) < 2:
                assert time.monotonic() < deadline
                await asyncio.wait({reading}, timeout=0.02)
            reading.cancel()
            await asyncio.wait({reading})
    await server.stop()


def test_letters_are_listed_shown_retried_and_dropped_and_what_was_done_stays_in_the_log(graveyard: Path, esper: Esper):
    request_row, junk_row = esper("dead", "list", "--json").rows()
    assert (request_row["status"], request_row["reason"], request_row["command"]) == (
        "buried",
        "given_up",
        "RequestKernel",
    )
    assert (junk_row["reason"], junk_row["command"]) == ("undecodable", "")
    shown = esper("dead", "show", str(junk_row["letter_id"])[:6])
    assert b"no command".hex() in shown.out
    again = esper("dead", "retry", str(request_row["letter_id"]), "--note", "open again")
    assert (again.code, "queued again for urza" in again.err) == (0, True)
    assert esper("dead", "drop", str(junk_row["letter_id"])).code == 0
    [left] = esper("dead", "list", "--json").rows()
    assert (left["letter_id"], left["status"], left["retries"]) == (request_row["letter_id"], "retried", 1)
    table = esper("dead", "list").out
    assert "the library is closed" in table


def test_what_is_no_command_cannot_be_retried_and_the_answer_says_why(graveyard: Path, esper: Esper):
    junk = esper("dead", "list", "--json").rows()[1]
    refused = esper("dead", "retry", str(junk["letter_id"]))
    assert refused.code == 2
    assert "cannot be retried: command refused: undecodable" in refused.err


def test_an_unknown_letter_is_said_to_be_unknown(graveyard: Path, esper: Esper):
    missing = esper("dead", "show", "zzz")
    assert (missing.code, "no dead letter 'zzz' among 2" in missing.err) == (2, True)


def test_a_log_without_dead_letters_says_so(esper: Esper):
    assert "no dead letters" in esper("dead", "list").err
