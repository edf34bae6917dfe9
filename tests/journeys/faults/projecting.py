"""A projector to be killed: follows a log into a DuckDB file until it dies, or its standard input ends.

Usage: python -m tests.journeys.faults.projecting URL PATH
"""

import asyncio
import sys
from pathlib import Path

import stamina

from eventstore.errors import StoreUnavailable
from eventstore.oona import open_log
from eventstore.projection.runner import keep_up
from eventstore.projection.sink import Sink
from tests.journeys.faults.conftest import RING
from tests.journeys.faults.spoken import CATALOGUE


async def project(url: str, path: Path) -> None:
    async for attempt in stamina.retry_context(on=StoreUnavailable, attempts=None, timeout=None, wait_max=0.5):
        with attempt:
            async with open_log(url, **RING) as log:
                sink = Sink(path, CATALOGUE)
                try:
                    await keep_up(log.store, sink)
                finally:
                    sink.close()


async def main(url: str, path: Path) -> None:
    projecting = asyncio.create_task(project(url, path))
    orphaned = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    await asyncio.wait({projecting, orphaned}, return_when=asyncio.FIRST_COMPLETED)
    projecting.cancel()
    await projecting


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
