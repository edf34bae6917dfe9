"""A forge in a process of its own, for tests that kill it: `python -m tests.actors.forge_life FOLDER URL`."""

import asyncio
import sys
from pathlib import Path

from actors.place import Place
from actors.tezzeret import ForgeSettings, run_forge
from esper.leyline.registry import COMMANDS, EVENTS
from eventstore.oona.log import open_log


async def live(folder: Path, url: str) -> None:
    place = Place.at(folder)
    async with open_log(url, keys=place.keys, types=EVENTS, commands=COMMANDS, name="forge") as log:
        await run_forge(log, place, ForgeSettings(ack_wait_s=1.0))


if __name__ == "__main__":
    asyncio.run(live(Path(sys.argv[1]), sys.argv[2]))
