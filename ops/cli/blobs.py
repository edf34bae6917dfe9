"""`esper blobs share`: weights, kernels and checkpoints move to the server, for machines that share no disk."""

import asyncio

from actors.users import ADMIN
from eventstore.blobs import FolderBlobs
from eventstore.oona.connection import Connection
from eventstore.oona.credentials import Login
from eventstore.oona.jetstream import JetStream
from eventstore.oona.objects import ObjectBlobs, create_bucket
from eventstore.store import BlobStore
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
