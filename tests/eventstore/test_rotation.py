"""A key is replaced while the log lives on; no secret is ever told."""

import io
import traceback
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from eventstore.commands import CommandCodec
from eventstore.errors import CommandInvalid, EventStoreError, KeyRefused, LogCorrupt, StoreUnavailable
from eventstore.oona import Oona, open_log
from eventstore.oona.server import LocalServer
from eventstore.signing import Keys
from tests.eventstore.vocabulary import SEED, TYPES, command, context, said, words

OLD, NEW = "the-old-secret-7f3a", "the-new-secret-91bc"


def ring(tmp_path: Path, current: str, previous: str = "") -> Keys:
    environ = {"ESPER_LEYLINE_SECRET": current} | ({"ESPER_LEYLINE_SECRET_PREVIOUS": previous} if previous else {})
    return Keys.load(tmp_path, environ)


async def append(server: LocalServer, keys: Keys, word: str, *, after: int) -> None:
    async with open_log(server.url, keys=keys, types=TYPES, commands=TYPES) as oona:
        await oona.store.append(SEED, said(word), expected=after, context=context())


async def read(oona: Oona) -> list[str]:
    return words([event async for event in oona.store.read_all()])


async def test_after_a_rotation_the_old_half_of_the_log_verifies_and_the_new_half_carries_the_new_key(
    nats_server: LocalServer, tmp_path: Path
):
    await append(nats_server, ring(tmp_path, OLD), "before", after=0)
    await append(nats_server, ring(tmp_path, NEW, OLD), "after", after=1)
    async with open_log(nats_server.url, keys=ring(tmp_path, NEW, OLD), types=TYPES, commands=TYPES) as both:
        assert await read(both) == ["before", "after"]
    async with open_log(nats_server.url, keys=ring(tmp_path, NEW), types=TYPES, commands=TYPES) as new_only:
        with pytest.raises(LogCorrupt, match=f"position 1: signing key.*{Keys(OLD).current_id}"):
            await read(new_only)
    async with open_log(nats_server.url, keys=ring(tmp_path, OLD), types=TYPES, commands=TYPES) as old_only:
        with pytest.raises(LogCorrupt, match=f"position 2: signing key.*{Keys(NEW).current_id}"):
            await read(old_only)


async def test_a_log_is_rotated_as_often_as_one_likes(nats_server: LocalServer, tmp_path: Path):
    previous = ""
    for number, current in enumerate((OLD, NEW, "the-third", "the-fourth")):
        await append(nats_server, ring(tmp_path, current, previous), current, after=number)
        previous = f"{previous}, {current}".strip(", ")
    keys = ring(tmp_path, "the-fourth", f"{OLD}, {NEW} the-third")
    async with open_log(nats_server.url, keys=keys, types=TYPES, commands=TYPES) as log:
        assert len(await read(log)) == 4
    assert Keys("one, with a comma").current_id in ring(tmp_path, NEW, "one, with a comma").ids()


def test_previous_secrets_alone_are_refused(tmp_path: Path):
    with pytest.raises(KeyRefused, match="set both, or neither"):
        Keys.load(tmp_path, {"ESPER_LEYLINE_SECRET_PREVIOUS": OLD})


def test_a_command_signed_before_the_rotation_is_taken_after_it_and_refused_once_the_old_key_is_gone(tmp_path: Path):
    sealed = CommandCodec(ring(tmp_path, OLD), TYPES).seal(command("waiting"))
    assert CommandCodec(ring(tmp_path, NEW, OLD), TYPES).unseal(sealed, "tezzeret").command.value == "waiting"
    with pytest.raises(CommandInvalid) as refused:
        CommandCodec(ring(tmp_path, NEW), TYPES).unseal(sealed, "tezzeret")
    assert refused.value.verdict == "verifier_unavailable"


async def test_a_client_with_another_key_gets_no_event_accepted_and_no_command_carried_out(
    nats_server: LocalServer, tmp_path: Path
):
    await append(nats_server, ring(tmp_path, OLD), "genuine", after=0)
    async with open_log(nats_server.url, keys=Keys("guessed"), types=TYPES, commands=TYPES) as thief:
        with pytest.raises(LogCorrupt, match="signing key"):
            await thief.store.append(SEED, said("forged"), expected=1, context=context())
    async with open_log(nats_server.url, keys=ring(tmp_path, OLD), types=TYPES, commands=TYPES) as owner:
        assert await read(owner) == ["genuine"]


async def test_no_secret_is_in_an_error_a_traceback_the_output_or_anything_the_server_keeps(
    own_nats_server: LocalServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    told = io.StringIO()
    with redirect_stdout(told), redirect_stderr(told):
        await append(own_nats_server, ring(tmp_path, OLD), "before", after=0)
        for attempt in (_read_without_key, _connect_nowhere):
            try:
                await attempt(own_nats_server)
            except EventStoreError as error:
                told.write("".join(traceback.TracebackException.from_exception(error, capture_locals=True).format()))
            else:
                pytest.fail("it was to fail")
    kept = b"".join(path.read_bytes() for path in own_nats_server.folder.rglob("*") if path.is_file())
    said_aloud = told.getvalue() + caplog.text
    assert "LogCorrupt" in said_aloud
    assert [secret for secret in (OLD, NEW, "pa55word") if secret in said_aloud or secret.encode() in kept] == []


async def _read_without_key(server: LocalServer) -> None:
    async with open_log(server.url, keys=Keys(NEW), types=TYPES, commands=TYPES) as oona:
        await read(oona)


async def _connect_nowhere(server: LocalServer) -> None:
    with pytest.raises(StoreUnavailable) as refused:
        async with open_log("nats://ann:pa55word@127.0.0.1:1", keys=Keys(NEW), types=TYPES, commands=TYPES):
            pass
    raise StoreUnavailable("connecting", str(refused.value))
