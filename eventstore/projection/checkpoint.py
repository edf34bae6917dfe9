"""How far a projection file has come, and in which log; kept in the file, moved with its rows."""

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

    def advance(self, recorded: Recorded) -> "Checkpoint":
        """Return the checkpoint after *recorded*, or this very one if its rows are in the file already.

        Raises:
            LogReplaced: the log holds another event where this checkpoint stands.
            LogCorrupt: *recorded* does not follow on this checkpoint.
        """
        place = (recorded.position, recorded.index)
        if place == (self.position, self.index) and recorded.event_id != self.event_id:
            raise LogReplaced(
                f"event {self.event_id} at position {self.position}.{self.index}", f"event {recorded.event_id}"
            )
        if place <= (self.position, self.index):
            return self
        if place not in ((self.position, self.index + 1), (self.position + 1, 0)):
            found = f"event {recorded.position}.{recorded.index}"
            raise LogCorrupt(self.position + 1, "gap", f"what follows {self.position}.{self.index}", found)
        return Checkpoint(
            log_created_ns=self.log_created_ns,
            position=recorded.position,
            index=recorded.index,
            event_id=recorded.event_id,
            events=self.events + 1,
        )


CREATE = (
    "CREATE TABLE projection_checkpoint"
    "(log_created_ns BIGINT, position BIGINT, index BIGINT, event_id VARCHAR, events BIGINT)"
)


def read_checkpoint(connection: duckdb.DuckDBPyConnection) -> Checkpoint:
    """Return the checkpoint of the file behind *connection*."""
    found = connection.execute(
        "SELECT log_created_ns, position, index, event_id, events FROM projection_checkpoint"
    ).fetchone()
    return msgspec.convert(dict(zip(Checkpoint.__struct_fields__, found or (), strict=False)), Checkpoint)


def write_checkpoint(connection: duckdb.DuckDBPyConnection, checkpoint: Checkpoint) -> None:
    """Replace the checkpoint, as part of the transaction that *connection* is in."""
    connection.execute("DELETE FROM projection_checkpoint")
    connection.execute(
        "INSERT INTO projection_checkpoint VALUES (?, ?, ?, ?, ?)", list(msgspec.structs.astuple(checkpoint))
    )
