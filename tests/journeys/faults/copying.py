"""An import or a restore to be killed in the middle of its work.

Usage: python -m tests.journeys.faults.copying import URL ARCHIVE BLOBS | restore URL BACKUP BLOBS
"""

import asyncio
import sys
from pathlib import Path

from eventstore.archive import Archive
from eventstore.blobs import FolderBlobs
from eventstore.importing import Importer
from eventstore.oona import open_log
from eventstore.oona.backup import Ring, restore
from tests.journeys.faults.conftest import RING


async def copy(what: str, url: str, source: Path, blobs: Path) -> int:
    """Return how many commits were written (imported), or are there now (restored)."""
    if what == "restore":
        checked = await restore(source, url, blobs, Ring(RING["keys"], RING["types"]), progress=lambda done, of: None)
        return checked.commits
    async with open_log(url, **RING) as log:
        importer = Importer(log.store, FolderBlobs(blobs), RING["keys"], RING["types"])
        return (await importer.bring(Archive(source), now_ns=1)).written


if __name__ == "__main__":
    what, url, source, blobs = sys.argv[1:]
    sys.stdout.write(f"{asyncio.run(copy(what, url, Path(source), Path(blobs)))}\n")
