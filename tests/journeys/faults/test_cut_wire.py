"""The wire is cut: every append in flight ends, and nobody is told that the connection is back before it is."""

import asyncio
from contextlib import aclosing

from eventstore.commands import CommandCodec
from eventstore.commit import CommitCodec
from eventstore.errors import StoreUnavailable
from eventstore.oona import open_log
from eventstore.oona.bus import OonaBus
from eventstore.oona.connection import Connection
from eventstore.oona.jetstream import JetStream
from eventstore.oona.nonces import OonaNonces
from eventstore.oona.server import LocalServer
from eventstore.store import Appended, CommandRecord, StreamName
from tests.eventstore.vocabulary import TYPES, command, context, said
from tests.journeys.faults.conftest import RING
from tests.journeys.faults.ledger import tell
from tests.journeys.faults.wire import Wire

IN_FLIGHT = 200


async def test_waiting_for_the_connection_ends_when_there_is_one_and_not_before(own_nats_server: LocalServer):
    async with Wire(own_nats_server.url) as wire:
        connection = Connection()
        await connection.open(wire.url, name="test")
        for _ in range(5):
            wire.cut()
            while connection.connected:  # noqa: ASYNC110 the very moment matters, and nobody tells of it
                await asyncio.sleep(0)
            await asyncio.wait_for(connection.until_back(), 10)
            assert connection.connected
        await connection.close()


async def test_every_append_in_flight_ends_when_the_connection_is_lost(own_nats_server: LocalServer):
    async with Wire(own_nats_server.url) as wire, open_log(wire.url, **RING) as log:
        streams = [StreamName("seed", f"s{number}") for number in range(IN_FLIGHT)]
        for stream in streams[:2]:
            await log.store.append(stream, said("a"), expected=0, context=context())
        wire.go_deaf()
        appends = [log.store.append(stream, said("b"), expected=0, context=context()) for stream in streams[2:]]
        waiting = [asyncio.ensure_future(append) for append in appends]
        await asyncio.wait_for(wire.lost.wait(), 10)
        wire.cut()
        async with asyncio.timeout(10):
            outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    kinds = {kind.__name__: sum(isinstance(one, kind) for one in outcomes) for kind in (Appended, StoreUnavailable)}
    tell(f"{len(waiting)} appends in flight when the wire was cut", kinds)
    assert sum(kinds.values()) == len(waiting)


class CutAtFirst(OonaNonces):
    """Claims ids; the wire is cut while the first is claimed."""

    def __init__(self, jetstream: JetStream, wire: Wire) -> None:
        super().__init__(jetstream)
        self._wire, self._first = wire, True

    async def claim(self, record: CommandRecord) -> bool:
        if self._first:
            self._first = False
            self._wire.cut()
        return await super().claim(record)


async def test_a_command_that_the_wire_is_cut_under_is_still_given_to_its_actor(own_nats_server: LocalServer):
    async with Wire(own_nats_server.url) as wire, open_log(own_nats_server.url, **RING) as log:
        connection = Connection()
        await connection.open(wire.url, name="actor")
        jetstream, keys = JetStream(connection), RING["keys"]
        codecs = CommandCodec(keys, TYPES), CommitCodec(keys, TYPES)
        bus = OonaBus(jetstream, *codecs, CutAtFirst(jetstream, wire))
        for word in ("first", "second"):
            await log.bus.send(command(word))
        async with asyncio.timeout(20), aclosing(bus.commands("tezzeret")) as commands:
            given = [(await anext(commands)).record.command.value for _ in range(2)]
        await connection.close()
    assert given == ["first", "second"]
