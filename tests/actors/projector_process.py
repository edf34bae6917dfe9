"""A projector in a process of its own, to be killed: `python -m tests.actors.projector_process URL FOLDER`."""

import asyncio
import sys
from pathlib import Path

from actors.place import Place
from actors.projector import run_projector
from esper.leyline.registry import COMMANDS, EVENTS
from eventstore.oona import open_log


async def main(url: str, folder: Path) -> None:
    place = Place.at(folder)
    async with open_log(url, keys=place.keys, types=EVENTS, commands=COMMANDS) as log:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await run_projector(log, place)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
