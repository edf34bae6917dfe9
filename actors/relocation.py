"""The positions that a history names of itself, as they are where it is written again."""

from collections.abc import Iterable

from google.protobuf.message import Message

from esper.leyline.v1.run_pb2 import CheckpointCommitted, RunRolledBack
from eventstore.store import EventStore, Recorded


class Relocation:
    """Follows one run's history while it is copied. A rollback names what it abandoned by positions."""

    def __init__(self) -> None:
        self._checkpoints: dict[str, int] = {}
        # Positions of the checkpoints in the copy, by the epoch at whose end they were taken.
        self.epochs: dict[int, int] = {}

    async def adjust(self, events: Iterable[Message], store: EventStore) -> None:
        """Let *events*, which are about to be written into *store*, name positions of the copy."""
        for event in events:
            if isinstance(event, RunRolledBack):
                event.abandoned_from = self._checkpoints[event.checkpoint_id] + 1
                event.abandoned_until = (await store.identity()).last_position

    def note(self, written: Iterable[Recorded]) -> None:
        """Note where *written* stand."""
        for recorded in written:
            if isinstance(recorded.event, CheckpointCommitted):
                checkpoint = recorded.event.checkpoint
                self._checkpoints[checkpoint.checkpoint_id] = self.epochs[checkpoint.at.epoch] = recorded.position
