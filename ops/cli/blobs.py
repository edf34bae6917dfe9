"""`esper blobs share`: weights, kernels and checkpoints move to the server, for machines that share no disk.

`esper blobs sweep`: what only expired checkpoints hold is removed.
"""

import asyncio

from actors.clock import SystemClock
from actors.retention import named_in
from actors.retention import sweep as swept_up
from actors.users import ADMIN
from eventstore.blobs import FolderBlobs
from eventstore.oona.connection import Connection
from eventstore.oona.credentials import Login
from eventstore.oona.jetstream import JetStream
from eventstore.oona.objects import ObjectBlobs, create_bucket
from eventstore.store import BlobStore
from ops.cli.errors import CommandFailed
from ops.cli.log import open_log
from ops.cli.options import DEFAULTS, Options
from ops.cli.output import print_json, print_line, say


async def share(*, replicas: int = 1, options: Options = DEFAULTS) -> None:
    """Keep blobs on the log's server from now on, and copy those of the folder there; doing so twice is harmless.

    Every process looks once, when it connects, whether the server keeps blobs: restart the stack and the trainings.

    Args:
        replicas: How many servers of a cluster keep each blob.
    """
    async with open_log(options, ADMIN) as log:
        await _make_room(log.url, log.login, replicas)
        folder = FolderBlobs(log.place.folder / "blobs")
        copied, there = await asyncio.to_thread(_copy, folder, log.url, log.login)
    if options.json:
        print_json([{"copied": copied, "there": there}])
        return
    print_line(f"{copied} blobs copied to the server, which keeps {there}")
    say("restart the stack and the trainings: esper down && esper up")


async def sweep(*, older_than_hours: float = 24.0, dry_run: bool = False, options: Options = DEFAULTS) -> None:
    """Remove from the folder what only checkpoints hold that have expired: see the setting `keep_checkpoints`.

    The whole log is read first. Cut off at any point, it goes on when it is called again.

    Args:
        older_than_hours: How long ago a checkpoint must have expired, and its bytes must have been written last.
            Whatever may be about to be named in the log - a checkpoint that is being written, a fork that is being
            made - is protected by it: 0 is for a log on which nobody works.
        dry_run: Say what would be removed, and remove nothing.
    """
    older_s = older_than_hours * 3600
    async with open_log(options) as log:
        if not isinstance(log.place.blobs, FolderBlobs):
            raise CommandFailed("this log's blobs are on its server, where nothing can sweep them yet")
        named = await named_in(log.store, expired_before_ns=SystemClock().now_ns() - int(older_s * 1e9))
        found = await asyncio.to_thread(swept_up, log.place.blobs, named, untouched_s=older_s, dry_run=dry_run)
    if options.json:
        print_json([found])
        return
    did = "would be removed" if dry_run else "removed"
    print_line(f"{found.blobs} blobs ({found.bytes / 2**20:.1f} MiB) of {found.checkpoints} expired checkpoints {did}")
    say(f"{found.shared} of theirs are shared with what must stay, {found.too_young} were written too lately")


async def _make_room(url: str, login: Login | None, replicas: int) -> None:
    connection = Connection()
    await connection.open(url, name="blobs", login=login)
    try:
        await create_bucket(JetStream(connection), replicas=replicas)
    finally:
        await connection.close()


def _copy(folder: BlobStore, url: str, login: Login | None) -> tuple[int, int]:
    server = ObjectBlobs(url, login=login)
    try:
        missing = set(folder.digests()) - set(server.digests())
        for digest in sorted(missing):
            server.put_chunks(folder.chunks(digest))
        return len(missing), len(server.digests())
    finally:
        server.close()
