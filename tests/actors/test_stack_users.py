"""The stack that people start lets nobody in without a password, and lets nobody do another's work."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from urllib.request import urlopen

import nats
import pytest
from nats.aio.client import Client

from actors.place import Place
from actors.roster import ROSTER
from actors.stack import down, up
from actors.stackfile import StackFile, login_at
from actors.users import ADMIN, ROLES
from actors.wellbeing import stack_status
from esper.leyline.registry import COMMANDS, EVENTS
from eventstore.errors import SecretUnfit, StoreUnavailable
from eventstore.oona.credentials import inbox_of
from eventstore.oona.log import connect

EVERYBODY = {ADMIN, *ROLES}
SILENCE_S = 0.3


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Place, StackFile]]:
    place = Place.at(tmp_path_factory.mktemp("esper"), {})
    yield place, up(place)
    down(place)


async def ignore(_: Exception) -> None:
    """The server's refusals are what these tests provoke."""


async def client(
    stack: tuple[Place, StackFile], user: str, on_error: Callable[[Exception], Awaitable[None]] = ignore
) -> Client:
    place, found = stack
    login = place.login(user)
    assert login is not None
    return await nats.connect(
        found.url, user=login.name, password=login.password, inbox_prefix=inbox_of(user), error_cb=on_error
    )


def test_every_actor_has_a_user():
    assert {actor.aggregate_id for actor in ROSTER} <= set(ROLES)


async def test_whoever_has_no_password_or_a_wrong_one_stays_outside(stack: tuple[Place, StackFile]):
    place, found = stack
    for url in (found.url, found.url.replace("://", "://reader:guessed@")):
        with pytest.raises(StoreUnavailable, match="Authorization Violation"):
            await connect(url, keys=place.keys, types=EVENTS, commands=COMMANDS)


async def test_all_actors_of_the_stack_work_under_their_users(stack: tuple[Place, StackFile]):
    found = await stack_status(stack[0])
    assert found.healthy
    assert {answer.epoch > 0 for answer in found.answers if answer.name != "projector"} == {True}


FORBIDDEN = {
    "reader": (
        "esper.evt.seed.x",
        "esper.cmd.urza.normal",
        "esper.emg.warden",
        "$JS.API.STREAM.MSG.DELETE.ESPER_EVENTS",
        "$JS.API.STREAM.MSG.DELETE.ESPER_DEAD_LETTERS",
        "$JS.API.CONSUMER.DELETE.ESPER_EVENTS.urza-compiled",
        "$JS.API.CONSUMER.MSG.NEXT.ESPER_EVENTS.urza-compiled",
        "$JS.API.CONSUMER.CREATE.ESPER_EVENTS.urza-compiled",
        "$JS.API.CONSUMER.CREATE.ESPER_EVENTS.urza-compiled.esper.evt.job.*",
        "$JS.API.CONSUMER.DURABLE.CREATE.ESPER_EVENTS.urza-compiled",
        "$JS.API.CONSUMER.MSG.NEXT.ESPER_COMMANDS.urza",
        "_INBOX.trainer.forged",
    ),
    "trainer": (
        "esper.evt.kernel.x",
        "esper.evt.deadletter.x",
        "esper.cmd.tezzeret.normal",
        "$JS.API.STREAM.PURGE.ESPER_COMMANDS",
        "$JS.API.STREAM.DELETE.ESPER_EVENTS",
        "$JS.API.STREAM.UPDATE.ESPER_EVENTS",
        "$JS.API.STREAM.CREATE.ESPER_MINE",
        "$JS.API.STREAM.SNAPSHOT.ESPER_EVENTS",
        "$JS.API.STREAM.RESTORE.ESPER_EVENTS",
        "_INBOX.reader.forged",
    ),
    "tezzeret": ("esper.evt.kernel.x", "esper.cmd.urza.normal", "$JS.ACK.ESPER_COMMANDS.urza.1.1.1.1.1"),
    "operator": ("$JS.API.STREAM.PURGE.ESPER_EVENTS", "$JS.API.STREAM.UPDATE.ESPER_EVENTS", "_INBOX.trainer.forged"),
}


@pytest.mark.parametrize("user", FORBIDDEN)
async def test_what_is_not_its_work_is_refused_by_the_server(stack: tuple[Place, StackFile], user: str):
    refused: list[str] = []

    async def note(error: Exception) -> None:
        refused.append(str(error).lower())

    connection = await client(stack, user, note)
    for subject in FORBIDDEN[user]:
        await connection.publish(subject, b"{}")
    # What is allowed comes after them on the same wire, so that its answer comes after their refusals.
    await connection.request("$JS.API.STREAM.INFO.ESPER_EVENTS", b"", timeout=5)
    await connection.close()
    assert [subject for subject in FORBIDDEN[user] if not any(f'"{subject.lower()}"' in told for told in refused)] == []


async def test_nobody_hears_what_another_is_answered(stack: tuple[Place, StackFile]):
    heard: list[str] = []

    async def overhear(message: nats.aio.msg.Msg) -> None:
        heard.append(message.subject)

    spy, trainer = await client(stack, "reader"), await client(stack, "trainer")
    for subject in ("_INBOX.>", "_INBOX.trainer.>", ">", "esper.cmd.>"):
        await spy.subscribe(subject, cb=overhear)
    await spy.flush()
    assert (await trainer.request("$JS.API.STREAM.INFO.ESPER_EVENTS", b"", timeout=5)).data
    await spy.flush()
    assert heard == []
    await spy.close()
    await trainer.close()


async def test_a_trainer_that_asks_for_too_much_is_told_so(stack: tuple[Place, StackFile]):
    place, found = stack
    log = await connect(found.url, keys=place.keys, types=EVENTS, commands=COMMANDS, login=place.login("trainer"))
    with pytest.raises(StoreUnavailable, match=r"may not publish to esper\.cmd\.tezzeret\.normal"):
        await log.bus.ask("esper.cmd.tezzeret.normal", b"", timeout_s=SILENCE_S)
    await log.close()


def test_passwords_are_in_files_of_their_owner_and_nowhere_else(stack: tuple[Place, StackFile]):
    place, found = stack
    files = list(place.users.iterdir())
    assert {file.name for file in files} == EVERYBODY
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert place.users.stat().st_mode & 0o777 == 0o700
    secrets = [file.read_text(encoding="ascii").strip() for file in files]
    assert len(set(secrets)) == len(EVERYBODY)
    pids = [found.pid, *(process.pid for process in found.processes)]
    told = [Path(f"/proc/{pid}/{what}").read_bytes() for pid in pids for what in ("cmdline", "environ")]
    told += [file.read_bytes() for file in (place.stack_file, *place.logs.iterdir())]
    pages = ("varz", "connz?auth=true&subs=detail", "jsz")
    told += [urlopen(f"{found.monitor_url}/{page}").read() for page in pages]  # noqa: S310 - our own server
    assert not [secret for secret in secrets for text in told if secret.encode() in text]
    assert (place.folder / "nats-server.conf").stat().st_mode & 0o777 == 0o600


def test_a_login_shows_no_password(stack: tuple[Place, StackFile]):
    login = stack[0].login("trainer")
    assert login is not None
    assert login.password not in repr(login)


def test_an_url_finds_the_users_of_the_stack_that_runs_there_and_no_other(stack: tuple[Place, StackFile]):
    place, found = stack
    assert login_at(place, found.url, "trainer") == place.login("trainer")
    assert login_at(place, "nats://elsewhere:4222", "trainer") is None


def test_an_installation_from_before_is_given_users_at_its_next_start_and_keeps_its_log(tmp_path: Path):
    place = Place.at(tmp_path, {})
    first = up(place)
    asyncio.run(_info(place, first.url))
    down(place)
    for file in place.users.iterdir():
        file.unlink()
    place.users.rmdir()
    assert place.login("reader") is None
    before = asyncio.run(_info(place, up(place).url))
    down(place)
    assert before.created_ns
    assert place.login("reader") is not None


async def _info(place: Place, url: str):
    log = await connect(url, keys=place.keys, types=EVENTS, commands=COMMANDS, login=place.login("reader"))
    try:
        return await log.store.identity()
    finally:
        await log.close()


def test_a_password_that_others_can_read_is_not_used(tmp_path: Path):
    place = Place.at(tmp_path, {})
    place.users.mkdir()
    (place.users / "reader").write_text("known")
    (place.users / "reader").chmod(0o644)
    with pytest.raises(SecretUnfit, match="chmod 600"):
        place.login("reader")
