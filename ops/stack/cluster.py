"""Three nats-servers on loopback with every stream on all of them. Run: python -m ops.stack.cluster [FOLDER]"""

import asyncio
import signal
import sys
from contextlib import suppress
from pathlib import Path

from eventstore.oona.cluster import NODES, LocalCluster
from eventstore.oona.connection import Connection
from eventstore.oona.jetstream import JetStream
from eventstore.oona.streams import StreamSizes, ensure

FOLDER = Path(".esper/cluster")


async def serve(folder: Path) -> None:
    """Start the cluster, create the streams on all nodes, say where it is, and stop it when told to end."""
    told, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told.set)
    cluster = LocalCluster(folder)
    await cluster.start()
    try:
        connection = Connection()
        await connection.open(cluster.url, name="cluster")
        await ensure(JetStream(connection), StreamSizes(replicas=NODES))
        await connection.close()
        sys.stdout.write(f"{cluster.url}\nEvery stream is kept {NODES} times. Stop it with Ctrl-C; its data stays.\n")
        sys.stdout.flush()
        await told.wait()
    finally:
        await cluster.stop()


def main() -> None:
    """Serve in the folder named on the command line, else in `.esper/cluster`."""
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER))


if __name__ == "__main__":
    main()
