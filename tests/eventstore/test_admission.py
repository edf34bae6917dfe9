"""A command is taken once, fresh and in time; a redelivery is no replay, and no wait in the queue makes one stale."""

import asyncio
import time
from contextlib import aclosing

import nats
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from msgspec.structs import replace

from eventstore.admission import Freshness, refusal, too_late, untimely
from eventstore.commands import CommandCodec
from eventstore.errors import CommandInvalid
from eventstore.oona import Oona, open_log
from eventstore.oona.server import LocalServer
from eventstore.signing import Keys
from eventstore.store import CommandRecord
from eventstore.subjects import of_target
from eventstore.v1.command_pb2 import Command, SignedCommand
from tests.eventstore.vocabulary import TYPES, command, command_id

ISSUED_NS = 1_700_000_000_000_000_000
CODEC = CommandCodec(Keys("k"), TYPES)


class Ids:
    """Remembers which ids were claimed, and answers as it was told."""

    def __init__(self, *, free: bool = True) -> None:
        self.free, self.claimed = free, list[str]()

    async def claim(self, record: CommandRecord) -> bool:
        self.claimed.append(record.command_id)
        return self.free


def verdict_after(seconds: float) -> str:
    found = untimely(command(issued_at_ns=ISSUED_NS), ISSUED_NS + round(seconds * 1e9), Freshness())
    return found.verdict if found else "ok"


@pytest.mark.parametrize(
    ("seconds", "verdict"),
    [(60.0, "ok"), (60.001, "stale_command"), (-5.0, "ok"), (-5.001, "issued_in_future"), (0.0, "ok")],
)
def test_the_limits_of_freshness(seconds: float, verdict: str):
    assert verdict_after(seconds) == verdict


def test_a_nonce_is_remembered_for_longer_than_its_command_is_fresh():
    assert Freshness().nonces_kept_s > Freshness().fresh_s + Freshness().skew_s


@pytest.mark.parametrize(
    ("wrong", "verdict"),
    [
        ({"command_id": ""}, "missing_command_id"),
        ({}, "nonce_replayed"),
        ({"issued_at_ns": 0}, "nonce_replayed"),
    ],
)
async def test_the_id_is_judged_before_the_time(wrong: dict[str, object], verdict: str):
    refused = await refusal(
        replace(command(issued_at_ns=1), **wrong), ISSUED_NS, ISSUED_NS, Ids(free=False), Freshness()
    )
    assert refused is not None
    assert refused.verdict == verdict


@pytest.mark.parametrize(
    ("issued_at_ns", "deadline_ns", "verdict"),
    [(0, 1, "missing_timestamp"), (1, 1, "stale_command"), (ISSUED_NS, 1, "expired")],
)
async def test_freshness_is_judged_before_the_deadline(issued_at_ns: int, deadline_ns: int, verdict: str):
    late = command(issued_at_ns=issued_at_ns, deadline_ns=deadline_ns)
    refused = await refusal(late, ISSUED_NS, ISSUED_NS, Ids(), Freshness())
    assert refused is not None
    assert refused.verdict == verdict


async def test_a_command_that_waited_a_day_in_its_queue_is_taken_unless_its_deadline_passed():
    a_day_later = ISSUED_NS + 24 * 3600 * 10**9
    waited = command(issued_at_ns=ISSUED_NS)
    assert await refusal(waited, ISSUED_NS, a_day_later, Ids(), Freshness()) is None
    assert too_late(replace(waited, deadline_ns=a_day_later - 1), a_day_later) is not None


def sealed(record: CommandRecord, **changed: object) -> bytes:
    """Return *record* as it would be sent by somebody who has the key and no respect for the form."""
    fields = {"aggregate": "seed", "aggregate_id": "s0", "type": "google.protobuf.StringValue"} | changed
    body = Command(
        command_id=record.command_id,
        target=record.target,
        issued_at_ns=record.issued_at_ns,
        deadline_ns=record.deadline_ns,
        **fields,
    ).SerializeToString()
    return SignedCommand(
        command=body, key_id=CODEC.keys.current_id, signature=CODEC.keys.sign(body)
    ).SerializeToString()


def with_envelope(data: bytes, **changed: object) -> bytes:
    envelope = SignedCommand.FromString(data)
    for name, value in changed.items():
        setattr(envelope, name, value)
    return envelope.SerializeToString()


WRONG = command(target="urza", issued_as="?", issued_at_ns=0, deadline_ns=1)
EVERY_WRONG = sealed(WRONG, type="nobody.Knows")
# Each message is wrong in every way of those after it, and in no way of those before it.
IN_ORDER = {
    "verifier_unavailable": with_envelope(EVERY_WRONG, key_id="f" * 16, signature=b""),
    "missing_signature": with_envelope(EVERY_WRONG, signature=b""),
    "invalid_signature": with_envelope(EVERY_WRONG, signature=b"\0" * 32),
    "wrong_target": EVERY_WRONG,
    "unknown_type": sealed(replace(WRONG, target="tezzeret"), type="nobody.Knows"),
    "missing_command_id": sealed(replace(WRONG, target="tezzeret")),
    "nonce_replayed": sealed(replace(WRONG, target="tezzeret", command_id="used")),
}


@pytest.mark.parametrize("verdict", IN_ORDER)
async def test_of_several_faults_the_first_in_the_order_is_named(verdict: str):
    assert await verdict_on(IN_ORDER[verdict]) == verdict


async def verdict_on(data: bytes) -> str:
    try:
        record = CODEC.unseal(data, "tezzeret")
    except CommandInvalid as invalid:
        return invalid.verdict
    refused = await refusal(record, ISSUED_NS, ISSUED_NS, Ids(free=False), Freshness())
    return refused.verdict if refused else "ok"


async def put(server: LocalServer, *messages: bytes) -> None:
    """Publish *messages* as somebody would who has them from elsewhere: without a message id."""
    client = await nats.connect(server.url)
    for message in messages:
        await client.jetstream().publish(of_target("tezzeret"), message)
    await client.close()


async def next_word(oona: Oona) -> str:
    async with asyncio.timeout(20), aclosing(oona.bus.commands("tezzeret")) as commands:
        delivery = await anext(commands)
        await delivery.ack()
    return delivery.record.command.value


async def reasons(oona: Oona) -> list[str]:
    return [letter.reason for letter in await oona.dead.all()]


async def test_a_forged_command_takes_no_id(oona: Oona, nats_server: LocalServer):
    sent = command("genuine")
    forged = CommandCodec(Keys("forger"), TYPES).seal(replace(sent, command=StringValue(value="forged")))
    await put(nats_server, forged, CODEC.seal(sent))
    assert await next_word(oona) == "genuine"
    assert await reasons(oona) == ["verifier_unavailable"]


async def test_the_same_command_from_elsewhere_is_given_to_the_actor_again_and_another_under_its_id_is_not(
    oona: Oona, nats_server: LocalServer
):
    sent = command("same")
    await put(
        nats_server, CODEC.seal(sent), CODEC.seal(sent), CODEC.seal(replace(sent, command=StringValue(value="x")))
    )
    await oona.bus.send(command("last"))
    assert [await next_word(oona) for _ in range(3)] == ["same", "same", "last"]
    assert await reasons(oona) == ["nonce_replayed"]


async def test_a_command_recorded_on_its_way_and_queued_later_is_refused(oona: Oona, nats_server: LocalServer):
    recorded = CODEC.seal(command("old", issued_at_ns=time.time_ns() - 61 * 10**9))
    await put(nats_server, recorded, CODEC.seal(command("soon", issued_at_ns=time.time_ns() + 10 * 10**9)))
    await oona.bus.send(command("last"))
    assert await next_word(oona) == "last"
    assert await reasons(oona) == ["stale_command", "issued_in_future"]


async def test_ids_outlive_the_server_and_the_actor(own_nats_server: LocalServer):
    sent = command("first", issued_as=command_id())
    async with open_log(own_nats_server.url, keys=Keys("k"), types=TYPES, commands=TYPES) as oona:
        await oona.bus.send(sent)
        assert await next_word(oona) == "first"
    own_nats_server.kill()
    await own_nats_server.start()
    await put(own_nats_server, CODEC.seal(replace(sent, command=StringValue(value="another"))))
    async with open_log(own_nats_server.url, keys=Keys("k"), types=TYPES, commands=TYPES) as oona:
        await oona.bus.send(command("last"))
        # The killed server may have forgotten the ack of the first: a redelivery of it is no replay.
        words = [await next_word(oona)]
        while words[-1] != "last":
            words.append(await next_word(oona))
        assert words in (["last"], ["first", "last"])
        assert await reasons(oona) == ["nonce_replayed"]


async def test_a_redelivery_is_no_replay(oona: Oona):
    sent = command("again")
    await oona.bus.send(sent)
    async with asyncio.timeout(20), aclosing(oona.bus.commands("tezzeret", ack_wait_s=0.1)) as commands:
        seen = [await anext(commands), await anext(commands)]
    assert [delivery.attempt for delivery in seen] == [1, 2]
    assert [delivery.record for delivery in seen] == [sent, sent]
    assert await reasons(oona) == []
