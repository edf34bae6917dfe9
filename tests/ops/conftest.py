"""A log that tells a short run, and a way to run commands on it."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from actors.place import Place
from esper.leyline.registry import COMMANDS, EVENTS
from eventstore.oona import open_log
from eventstore.oona.server import LocalServer
from ops.cli.main import run
from tests.ops.story import tell_story

OTHER_RUN_ID = "f3b2" + "0" * 28


class Ran(NamedTuple):
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str

    def rows(self) -> list[dict[str, object]]:
        """Return what `--json` printed, one object per line."""
        return [msgspec.json.decode(line) for line in self.out.splitlines()]


Esper = Callable[..., Ran]


@pytest.fixture(scope="session")
def told(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose log holds one run, with no stack on it; tests only read it."""
    folder = tmp_path_factory.mktemp("told") / ".esper"
    asyncio.run(_tell(folder))
    return folder


@pytest.fixture
def esper(told: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Esper:
    """Run one `esper` command on the told log, or on the folder of $ESPER_HOME if the test sets another."""
    monkeypatch.setenv("ESPER_HOME", str(told))
    monkeypatch.delenv("ESPER_LEYLINE_SECRET", raising=False)

    def command(*arguments: str) -> Ran:
        code = run(arguments)
        printed = capsys.readouterr()
        return Ran(code, printed.out, printed.err)

    return command


async def _tell(folder: Path) -> None:
    place = Place.at(folder, {})
    server = LocalServer(place.folder, tied=True)
    await server.start()
    async with open_log(server.url, keys=place.keys, types=EVENTS, commands=COMMANDS) as log:
        await tell_story(log.store)
    await server.stop()
