"""Which of a run's checkpoints have expired, in words for whoever asks for one of them."""

from collections.abc import Sequence

from esper.leyline.v1.run_pb2 import CheckpointCommitted, CheckpointExpired
from eventstore.store import Recorded


def why_expired(events: Sequence[Recorded], checkpoint_id: str) -> str:
    """Say that the checkpoint has expired, by all of its run's *events*, and which are left; empty if it has not."""
    gone = {one.event.checkpoint_id for one in events if isinstance(one.event, CheckpointExpired)}
    if checkpoint_id not in gone:
        return ""
    left: list[str] = []
    epoch = 0
    for one in events:
        if isinstance(one.event, CheckpointCommitted):
            checkpoint = one.event.checkpoint
            if checkpoint.checkpoint_id == checkpoint_id:
                epoch = checkpoint.at.epoch
            elif checkpoint.checkpoint_id not in gone:
                left.append(f"epoch {checkpoint.at.epoch} (position {one.position})")
    return f"the checkpoint of epoch {epoch} has expired; there are those of {', '.join(left)}"
