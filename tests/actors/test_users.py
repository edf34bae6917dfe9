"""Each actor can do its work under its own user, and nothing else."""

import asyncio
import ssl
import subprocess
from collections.abc import AsyncGenerator
from pathlib import Path

import nats
import pytest

from actors.place import Place
from actors.urza import run_librarian
from actors.users import ROLES, users
from actors.warden import run_warden
from esper.leyline.registry import COMMANDS, EVENTS
from esper.leyline.v1.fabric_pb2 import DeadLetterBuried
from esper.leyline.v1.kernel_pb2 import KernelRequested
from eventstore.errors import StoreUnavailable
from eventstore.oona import Oona, connect, open_log
from eventstore.oona.credentials import Tls
from eventstore.oona.server import LocalServer
from eventstore.store import Context, StreamName
from tests.actors.workshop import kernel_spec, kernel_stream, request

PASSWORDS = {name: f"password-of-{name}" for name in (*ROLES, "admin")}


def url_of(server: LocalServer, name: str) -> str:
    return server.url.replace("://", f"://{name}:{PASSWORDS[name]}@")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place.at(tmp_path / "place", {})


@pytest.fixture
async def server(tmp_path: Path, place: Place) -> AsyncGenerator[LocalServer, None]:
    """A server with users, whose streams were created by its admin."""
    server = LocalServer(tmp_path / "server", users=users(PASSWORDS))
    await server.start()
    await (await opened(server, place, "admin")).close()
    yield server
    await server.stop()


async def opened(server: LocalServer, place: Place, name: str) -> Oona:
    return await connect(url_of(server, name), keys=place.keys, types=EVENTS, commands=COMMANDS)


async def test_a_client_without_a_password_does_not_get_in(server: LocalServer, place: Place):
    with pytest.raises(StoreUnavailable, match="Authorization Violation"):
        await connect(server.url, keys=place.keys, types=EVENTS, commands=COMMANDS)


@pytest.mark.parametrize(("name", "aggregate"), [("reader", "seed"), ("tezzeret", "kernel"), ("urza", "job")])
async def test_who_has_the_key_but_not_the_permission_cannot_record(
    server: LocalServer, place: Place, name: str, aggregate: str
):
    log = await opened(server, place, name)
    context = Context(command_id="0" * 32, command_type="Forge", recorded_at_ns=1, actor=name)
    with pytest.raises(StoreUnavailable):
        await log.store.append(StreamName(aggregate, "x"), [KernelRequested()], expected=0, context=context)
    assert [event async for event in log.store.read_all()] == []
    await log.close()


@pytest.mark.parametrize(
    "subject", ["$JS.API.STREAM.DELETE.ESPER_EVENTS", "$JS.API.STREAM.PURGE.ESPER_EVENTS", "esper.cmd.urza.normal"]
)
async def test_a_reader_can_neither_delete_nor_command(server: LocalServer, subject: str):
    client = await nats.connect(url_of(server, "reader"))
    with pytest.raises(nats.errors.TimeoutError):
        await client.request(subject, b"", timeout=0.3)
    await client.close()


async def test_the_trainer_the_library_and_the_warden_do_their_work_under_their_own_users(
    server: LocalServer, place: Place
):
    logs = {name: await opened(server, place, name) for name in ("trainer", "urza", "warden", "reader")}
    working = [
        asyncio.ensure_future(run_librarian(logs["urza"], place)),
        asyncio.ensure_future(run_warden(logs["warden"], place)),
    ]
    spec = kernel_spec("BP001")
    await request(logs["trainer"].bus, spec)
    await logs["trainer"].bus.ask("esper.cmd.urza.normal", b"junk", timeout_s=5)
    wanted = {KernelRequested, DeadLetterBuried}
    async with asyncio.timeout(30):
        async for recorded in logs["reader"].store.follow():
            wanted.discard(type(recorded.event))
            if not wanted:
                break
    assert len(await logs["reader"].store.read_stream(kernel_stream(spec))) == 1
    for task in working:
        task.cancel()
    await asyncio.wait(working)
    for log in logs.values():
        await log.close()


def certificate(folder: Path) -> Tls:
    """Return a certificate of our own for the loopback address."""
    made = Tls(certificate=str(folder / "cert.pem"), key=str(folder / "key.pem"), authority=str(folder / "cert.pem"))
    subject = ("-subj", "/CN=esper-test", "-addext", "subjectAltName=IP:127.0.0.1")
    new = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    subprocess.run(
        [*new, "-days", "2", "-keyout", made.key, "-out", made.certificate, *subject], check=True, capture_output=True
    )
    return made


async def test_with_tls_the_log_works_and_whoever_does_not_know_the_server_stays_out(tmp_path: Path, place: Place):
    tls = certificate(tmp_path)
    server = LocalServer(tmp_path / "server", tls=tls)
    await server.start()
    url = server.url.replace("nats://", "tls://")
    codecs = {"keys": place.keys, "types": EVENTS, "commands": COMMANDS}
    async with open_log(url, authority=tls.authority, **codecs) as log:
        await request(log.bus, kernel_spec("BP001"))
        assert (await log.store.identity()).last_position == 0
    with pytest.raises((StoreUnavailable, ssl.SSLError)):
        await connect(url, **codecs)
    await server.stop()
