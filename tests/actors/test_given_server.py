"""A stack on a server that others run: its actors work there, and it is neither started nor stopped."""

from pathlib import Path

import pytest

from actors.place import Place
from actors.settings import StackSettings
from actors.stack import down, up
from eventstore.oona.server import LocalServer


def test_the_actors_work_there_and_it_runs_on_afterwards(
    nats_server: LocalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("ESPER__STACK__SERVER", nats_server.url)
    monkeypatch.setenv("ESPER__STACK__MONITOR", nats_server.monitor)
    place = Place.at(tmp_path, {})
    found = up(place, StackSettings())
    assert (found.url, found.monitor_url) == (nats_server.url, nats_server.monitor)
    assert {process.state for process in found.processes} == {"ready"}
    assert down(place)
    assert nats_server.pid is not None
    assert not (tmp_path / "nats-server.conf").exists()
