"""A tapped subscription gets what arrives, as it arrives, with its headers unread until somebody asks."""

import asyncio

import pytest
from nats.aio.msg import Msg

from eventstore.oona.server import LocalServer
from eventstore.oona.tapping import TappingClient, header_fields

Arrived = tuple[bytes, bytes, bytes, bytes]


class Tapped:
    """Keeps what a tap was given."""

    def __init__(self, many: int) -> None:
        self.arrived: list[Arrived] = []
        self._many, self._all = many, asyncio.Event()

    def __call__(self, *message: bytes) -> None:
        subject, reply, data, headers = message
        self.arrived.append((subject, reply, data, headers))
        if len(self.arrived) == self._many:
            self._all.set()

    async def all(self) -> list[Arrived]:
        async with asyncio.timeout(10):
            await self._all.wait()
        return self.arrived


class Watched(TappingClient):
    """A tapping client that fails when nats-py builds a message for a tapped subscription."""

    def _build_message(self, sid: int, *rest: object) -> Msg:
        assert sid not in self._taps
        return super()._build_message(sid, *rest)


@pytest.fixture
async def client(nats_server: LocalServer):
    client = Watched()
    await client.connect(nats_server.url)
    yield client
    await client.close()


async def test_messages_reach_a_tap_in_order_with_their_headers_unread(client: Watched):
    tapped = Tapped(200)
    await client.tap("tapped.>", tapped)
    for number in range(200):
        await client.publish(f"tapped.{number}", b"%d" % number, reply="back", headers={"Number": str(number)})
    arrived = await tapped.all()
    assert [data for _, _, data, _ in arrived] == [b"%d" % number for number in range(200)]
    assert arrived[7][:2] == (b"tapped.7", b"back")
    assert header_fields(arrived[7][3]) == {"Number": "7"}


async def test_other_subscriptions_of_the_same_connection_are_served_as_ever(client: Watched):
    heard: asyncio.Queue[Msg] = asyncio.Queue()
    tapped = Tapped(1)
    await client.subscribe("both", cb=heard.put)
    await client.tap("both", tapped)
    await client.publish("both", b"x", headers={"A": "b"})
    await tapped.all()
    async with asyncio.timeout(10):
        assert (await heard.get()).headers == {"A": "b"}


async def test_an_ended_tap_hears_nothing_more(client: Watched):
    ended, still = Tapped(1), Tapped(1)
    await (await client.tap("t", ended)).unsubscribe()
    await client.tap("t", still)
    await client.publish("t", b"x")
    await still.all()
    assert (ended.arrived, len(client._taps)) == ([], 1)


def test_a_status_is_read_as_nats_py_reads_it():
    assert header_fields(b"NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: 3\r\n\r\n") == {
        "Status": "100",
        "Description": "Idle Heartbeat",
        "Nats-Last-Consumer": "3",
    }


def test_a_header_that_occurs_twice_says_what_it_said_last():
    assert header_fields(b"NATS/1.0\r\nA: 1\r\nA: 2:3\r\n\r\n") == {"A": "2:3"}
