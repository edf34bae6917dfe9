"""Bytes flipped on the disk while the server was away: none is ever read as if it were genuine."""

import random
import shutil
from collections import Counter
from pathlib import Path

from eventstore.errors import LogCorrupt, StoreUnavailable
from eventstore.oona import open_log
from eventstore.store import Recorded
from tests.eventstore.vocabulary import SEED, context, said
from tests.journeys.faults.conftest import RING, running
from tests.journeys.faults.ledger import tell

COMMITS = 60
FLIPS = 12


def flip(store: Path, chance: random.Random) -> None:
    """Change one bit of the stream of record, anywhere in its blocks."""
    (blocks,) = store.glob("jetstream/*/streams/ESPER_EVENTS/msgs")
    block = max(blocks.glob("*.blk"), key=lambda path: path.stat().st_size)
    data = bytearray(block.read_bytes())
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    block.write_bytes(data)


async def read(url: str) -> tuple[list[Recorded], str]:
    """Return what a reader takes for genuine, and how its reading ended."""
    taken: list[Recorded] = []
    try:
        async with open_log(url, **RING) as log:
            async for event in log.store.read_all():
                taken.append(event)
    except (LogCorrupt, StoreUnavailable) as error:
        return taken, type(error).__name__
    return taken, "shorter" if len(taken) < COMMITS else "whole"


async def test_no_byte_flipped_on_the_disk_is_taken_for_genuine(tmp_path: Path):
    chance = random.Random(11)
    async with running(tmp_path / "server") as server:
        async with open_log(server.url, **RING) as log:
            for version in range(COMMITS):
                await log.store.append(SEED, said(f"word {version}"), expected=version, context=context())
            written = [event async for event in log.store.read_all()]
        await server.stop()
        shutil.copytree(tmp_path / "server" / "nats", tmp_path / "sound")
        endings, altered = Counter[str](), 0
        for _ in range(FLIPS):
            shutil.rmtree(tmp_path / "server" / "nats")
            shutil.copytree(tmp_path / "sound", tmp_path / "server" / "nats")
            flip(tmp_path / "server" / "nats", chance)
            await server.start()
            taken, ending = await read(server.url)
            altered += taken != written[: len(taken)]
            endings[ending] += 1
            await server.stop()
    tell(f"{FLIPS} flipped bits on the disk", f"{altered} read as genuine; readers ended: {dict(endings)}")
    assert altered == 0
    assert "whole" not in endings
