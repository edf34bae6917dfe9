"""A writer that records two decisions, the second when told to, under ids that are the same in every life.

Usage: python -m tests.journeys.faults.writing URL
"""

import asyncio
import sys

from eventstore.oona import open_log
from tests.eventstore.vocabulary import SEED, context, said
from tests.journeys.faults.conftest import RING

DECISIONS = ("1" * 32, "2" * 32)


async def write(url: str) -> None:
    async with open_log(url, **RING) as log:
        for version, decision in enumerate(DECISIONS):
            appended = await log.store.append(SEED, said(decision), expected=version, context=context(decision))
            sys.stdout.write("before\n" if appended.duplicate else "now\n")
            sys.stdout.flush()
            await asyncio.to_thread(sys.stdin.readline)


if __name__ == "__main__":
    asyncio.run(write(sys.argv[1]))
