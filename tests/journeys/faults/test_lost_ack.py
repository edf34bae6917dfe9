"""An acknowledgement is lost on the wire: the retry succeeds, and the log holds the commit once.

One node and a cluster answer such a retry differently; both answers have to count as success.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import NamedTuple

import pytest

from eventstore.errors import StoreUnavailable
from eventstore.oona import Oona, open_log
from eventstore.oona.cluster import LocalCluster
from eventstore.oona.connection import Connection
from eventstore.oona.jetstream import WRONG_LAST_SEQUENCE, JetStream, Refused
from eventstore.oona.streams import StreamSizes
from eventstore.store import Appended
from tests.eventstore.vocabulary import SEED, context, said
from tests.journeys.faults.conftest import RING, THREE, running
from tests.journeys.faults.ledger import Ledger, tell
from tests.journeys.faults.wire import Wire

ROUNDS = 3


class Place(NamedTuple):
    name: str
    url: str
    sizes: StreamSizes


@pytest.fixture(params=["one node", "three nodes"])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Place, None]:
    if request.param == "one node":
        async with running(tmp_path / "server") as server:
            yield Place(request.param, server.url, StreamSizes())
    else:
        cluster = LocalCluster(tmp_path / "cluster")
        await cluster.start()
        yield Place(request.param, cluster.nodes[0].url, THREE)
        await cluster.stop()


async def answer_to_a_resent_append(place: Place) -> str:
    """Store one message with an expectation and send it again unchanged: what does the server say?"""
    connection = Connection()
    await connection.open(place.url, name="test")
    headers = {"Nats-Msg-Id": "m1", "Nats-Expected-Last-Subject-Sequence": "0"}
    jetstream = JetStream(connection)
    await jetstream.publish("esper.evt.probe.p1", b"x", headers, doing="probing")
    try:
        again = await jetstream.publish("esper.evt.probe.p1", b"x", headers, doing="probing")
    except Refused as refused:
        return f"error {refused.err_code}"
    finally:
        await connection.close()
    return "duplicate" if again.duplicate else "stored twice"


async def lose_the_ack(place: Place, judge: Oona, version: int, *, cut: bool) -> Appended:
    """Append behind a deaf wire, then hear again or reconnect, and return what the append or its retry answered."""
    decision = f"{version:032x}"
    async with Wire(place.url) as wire, open_log(wire.url, **RING, sizes=place.sizes) as log:
        await log.store.read_stream(SEED)
        wire.go_deaf()
        append = log.store.append(SEED, said(decision), expected=version, context=context(decision))
        appending = asyncio.ensure_future(append)
        async with asyncio.timeout(20), aclosing(judge.store.follow(after=version)) as following:
            await anext(following)
        if not cut:
            wire.hear()
            return await appending
        wire.cut()
        with pytest.raises(StoreUnavailable):
            await appending
        return await Ledger().append(log.store, SEED, decision, version, decision)


@pytest.mark.parametrize("cut", [False, True], ids=["resent by the store", "retried by the caller"])
async def test_an_append_whose_ack_was_lost_is_answered_with_what_was_recorded(place: Place, cut: bool):
    async with open_log(place.url, **RING, sizes=place.sizes) as judge:
        answers = [await lose_the_ack(place, judge, version, cut=cut) for version in range(ROUNDS)]
        stored = await judge.store.read_stream(SEED)
    tell(f"{ROUNDS} acks lost on {place.name}", f"{len(stored)} events, {sum(a.duplicate for a in answers)} duplicates")
    assert [event for answer in answers for event in answer.events] == stored
    assert all(answer.duplicate for answer in answers)


async def test_one_node_and_a_cluster_answer_a_resent_append_differently(place: Place):
    async with open_log(place.url, **RING, sizes=place.sizes):
        answer = await answer_to_a_resent_append(place)
    tell(f"a resent append on {place.name}", answer)
    assert answer == {"one node": f"error {WRONG_LAST_SEQUENCE}", "three nodes": "duplicate"}[place.name]
