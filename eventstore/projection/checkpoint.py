"""How far a projection file has come, and in which log; kept in the file, moved with its rows."""

from collections.abc import Sequence

import duckdb
import msgspec

from eventstore.errors import LogCorrupt, LogReplaced
from eventstore.store import LogIdentity, Recorded


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """The last event whose rows are in the file. Position 0: none yet. `events` counts them all."""

    log_created_ns: int = 0
    position: int = 0
    index: int = 0
    event_id: str = ""
    events: int = 0

    @property
    def resume_after(self) -> int:
        """The position to read after: the last commit is read again, to recognise the log and finish the commit."""
        return max(0, self.position - 1)

    def check_log(self, log: LogIdentity) -> None:
        """Refuse a log that this checkpoint cannot have come from.

        Raises:
            LogReplaced: another creation time, a beginning that is gone, or an end before this checkpoint.
        """
        if self.log_created_ns not in (0, log.created_ns):
            raise LogReplaced(f"a log created at {self.log_created_ns} ns", f"one created at {log.created_ns} ns")
        if log.first_position > self.position + 1:
            raise LogReplaced(f"position {self.position + 1} to be there", f"a log that begins at {log.first_position}")
        if log.last_position < self.position:
            raise LogReplaced(f"at least {self.position} positions", f"a log that ends at {log.last_position}")

    def after(self, batch: Sequence[Recorded]) -> tuple["Checkpoint", Sequence[Recorded]]:
        """Return the checkpoint after *batch* with those of its events whose rows are not in the file yet.

        Raises:
            LogReplaced: the log holds another event where this checkpoint stands.
            LogCorrupt: the batch does not follow on this checkpoint, or has a hole.
        """
        position, index, event_id = self.position, self.index, self.event_id
        fresh: list[Recorded] = []
        for recorded in batch:
            place = (recorded.position, recorded.index)
            if place in ((position, index + 1), (position + 1, 0)):
                position, index = place
                event_id = recorded.event_id
                fresh.append(recorded)
            elif place > (position, index):
                found = f"event {recorded.position}.{recorded.index}"
                raise LogCorrupt(position + 1, "gap", f"what follows {position}.{index}", found)
            elif place == (position, index) and recorded.event_id != event_id:
                raise LogReplaced(f"event {event_id} at position {position}.{index}", f"event {recorded.event_id}")
        if not fresh:
            return self, fresh
        moved = {"position": position, "index": index, "event_id": event_id, "events": self.events + len(fresh)}
        return msgspec.structs.replace(self, **moved), fresh


CREATE = (
    "CREATE TABLE projection_checkpoint"
    "(log_created_ns BIGINT, position BIGINT, index BIGINT, event_id VARCHAR, events BIGINT)"
)


def read_checkpoint(connection: duckdb.DuckDBPyConnection) -> Checkpoint:
    """Return the checkpoint of the file behind *connection*."""
    found = connection.execute(
        "SELECT log_created_ns, position, index, event_id, events FROM projection_checkpoint"
    ).fetchall()[0]
    return msgspec.convert(dict(zip(Checkpoint.__struct_fields__, found, strict=True)), Checkpoint)


def write_checkpoint(connection: duckdb.DuckDBPyConnection, checkpoint: Checkpoint) -> None:
    """Replace the checkpoint, as part of the transaction that *connection* is in."""
    connection.execute("DELETE FROM projection_checkpoint")
    connection.execute(
        "INSERT INTO projection_checkpoint VALUES (?, ?, ?, ?, ?)", list(msgspec.structs.astuple(checkpoint))
    )
