"""Several nats-servers on loopback that keep every stream three times: what one machine can show of a cluster."""

import asyncio
import os
import socket
from collections.abc import Mapping
from pathlib import Path

from eventstore.oona.server import LocalServer

NODES = 3
START_WAIT_S = 30.0
_LOOPBACK = "127.0.0.1"


class LocalCluster:
    """A cluster of nats-servers, each with its store and log under its own folder `n1`, `n2`, ...

    Streams are kept on all nodes if they are created with `StreamSizes(replicas=NODES)`. All nodes share one disk and
    one kernel here: they show what happens when a node dies, not what happens when a machine does.
    """

    def __init__(self, folder: Path, *, nodes: int = NODES, environ: Mapping[str, str] = os.environ) -> None:
        """Prepare *nodes* servers under *folder*; none runs yet."""
        routes = [f"nats://{_LOOPBACK}:{port}" for port in _free_ports(nodes)]
        self.nodes = tuple(
            LocalServer(folder / f"n{number}", environ=environ, settings=_settings(f"n{number}", own, routes))
            for number, own in enumerate(routes, start=1)
        )

    @property
    def url(self) -> str:
        """Where clients connect: every node, separated by commas."""
        return ",".join(node.url for node in self.nodes)

    async def start(self, *, wait_s: float = START_WAIT_S) -> None:
        """Start all nodes together, for none is ready without a majority.

        Raises:
            ServerMissing, ServerTooOld: there is no program to run.
            ServerNotReady: one was not ready within *wait_s* seconds; nothing is left running.
        """
        outcomes = await asyncio.gather(*(node.start(wait_s=wait_s) for node in self.nodes), return_exceptions=True)
        failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        if failures:
            await self.stop()
            raise failures[0]

    async def stop(self) -> None:
        """Stop every node that runs."""
        await asyncio.gather(*(node.stop() for node in self.nodes))


def _settings(name: str, own: str, routes: list[str]) -> dict[str, object]:
    port = int(own.rsplit(":", 1)[1])
    cluster = {"name": "esper", "host": _LOOPBACK, "port": port, "routes": [route for route in routes if route != own]}
    return {"server_name": name, "cluster": cluster}


def _free_ports(many: int) -> list[int]:
    """Return ports that were free a moment ago: the nodes must know each other's before the first one starts."""
    sockets = [socket.create_server((_LOOPBACK, 0)) for _ in range(many)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
