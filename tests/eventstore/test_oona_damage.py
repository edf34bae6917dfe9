"""The log's files are damaged or older than what was read: it is noticed, and said where."""

import shutil
from contextlib import aclosing
from pathlib import Path

import pytest

from eventstore.errors import LogCorrupt, LogReplaced
from eventstore.oona import connect, open_log
from eventstore.oona.connection import Connection
from eventstore.oona.jetstream import JetStream
from eventstore.oona.reading import LogReader
from eventstore.oona.server import LocalServer
from eventstore.oona.store import OonaStore
from eventstore.oona.streams import EVENTS
from eventstore.signing import Keys
from tests.eventstore.vocabulary import SEED, TYPES, context, said

RING = {"keys": Keys("k"), "types": TYPES, "commands": TYPES}


async def write(store: OonaStore, first: int, last: int) -> None:
    for number in range(first, last + 1):
        await store.append(SEED, said(f"canary-{number}"), expected=number - 1, context=context())


def flip_a_byte_of(folder: Path, word: bytes) -> None:
    [block] = folder.glob(f"nats/jetstream/*/streams/{EVENTS}/msgs/*.blk")
    data = bytearray(block.read_bytes())
    data[data.index(word)] ^= 0x01
    block.write_bytes(data)


@pytest.mark.parametrize("position", [1, 3, 5])
async def test_a_byte_flipped_on_the_disk_is_found_at_its_position(tmp_path: Path, position: int):
    server = LocalServer(tmp_path)
    await server.start()
    async with open_log(server.url, **RING) as oona:
        await write(oona.store, 1, 5)
    await server.stop()
    flip_a_byte_of(tmp_path, b"canary-%d" % position)
    await server.start()
    async with open_log(server.url, **RING) as oona:
        with pytest.raises(LogCorrupt) as refusal:
            [event async for event in oona.store.read_all()]
    await server.stop()
    assert refusal.value.position == position


async def test_an_older_copy_of_the_log_is_refused_by_everyone_who_saw_more(tmp_path: Path):
    server = LocalServer(tmp_path)
    await server.start()
    writer = await connect(server.url, **RING)
    await write(writer.store, 1, 3)
    await server.stop()
    shutil.copytree(tmp_path / "nats", tmp_path / "older")
    await server.start()
    async with open_log(server.url, **RING) as oona:
        await write(oona.store, 4, 5)
    await server.stop()
    shutil.rmtree(tmp_path / "nats")
    (tmp_path / "older").rename(tmp_path / "nats")
    await server.start()
    async with open_log(server.url, **RING) as oona, aclosing(oona.store.follow(after=5)) as following:
        with pytest.raises(LogReplaced):
            await anext(following)
    await writer.close()
    await server.stop()


async def test_a_reading_up_to_what_the_server_lost_ends(nats_server: LocalServer):
    async with open_log(nats_server.url, **RING) as oona:
        await write(oona.store, 1, 3)
    connection = Connection()
    await connection.open(nats_server.url, name="test")
    reader = LogReader(JetStream(connection), EVENTS)
    with pytest.raises(LogCorrupt) as refusal:
        [batch async for batch in reader.until(after=0, until=5)]
    await connection.close()
    assert refusal.value.position == 5
