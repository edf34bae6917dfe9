"""What can go wrong with projections.

ProjectionError
├── QueryRefused         the SQL is not one harmless question; nothing was changed
├── QueryTimedOut        the question took longer than its limit and was stopped
├── PositionNotReached   the position to know of is not in the file yet: ask again, or without it
├── FrameTooLarge        the result is more than one frame may hold: ask for less
├── FrameGone            the result is not kept any more: ask again
├── ArrowMissing         pyarrow is not installed where it is needed
├── ProjectionsBroken    the file cannot be read, whatever is asked: rebuild it
├── ProjectionsMissing   there is no projection file yet
└── ProjectionsBusy      another process owns the file: ask it, or stop it first
"""

from pathlib import Path
from typing import Literal

from eventstore.errors import EventStoreError

RefusalReason = Literal[
    "not_sql",
    "not_one_statement",
    "not_a_question",
    "writes",
    "outside_access",
    "unknown_name",
    "too_much_memory",
    "failed",
]


class ProjectionError(EventStoreError):
    """Anything the projections can refuse or report."""


class QueryRefused(ProjectionError):
    """The SQL is not one harmless question. Whatever it began was rolled back; *reason* says which rule it met."""

    def __init__(self, reason: RefusalReason, detail: str) -> None:
        self.reason: RefusalReason = reason
        self.detail = detail
        super().__init__(f"query refused ({reason}): {detail}")


class QueryTimedOut(ProjectionError):
    """The question was stopped at its time limit: ask for less, or raise the limit."""

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        super().__init__(f"the query was stopped after {limit_s:g} s: ask for less, or raise the limit")


class PositionNotReached(ProjectionError):
    """The file does not hold the position that the answer must know of, and the time to wait for it is over."""

    def __init__(self, asked: int, reached: int) -> None:
        self.asked, self.reached = asked, reached
        super().__init__(f"position {asked} is not projected yet (reached: {reached}): ask again in a moment")


class FrameTooLarge(ProjectionError):
    """A whole result is larger than a frame may be; none of it was sent, because a part would look like the whole."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        super().__init__(
            f"the result is larger than {limit_bytes / 2**20:g} MiB: name fewer columns, filter, or aggregate"
        )


class FrameGone(ProjectionError):
    """The result was given up for newer ones, or its projector was started anew."""

    def __init__(self) -> None:
        super().__init__("the result is not kept any more: ask again")


class ArrowMissing(ProjectionError):
    """Results as Arrow need pyarrow."""

    def __init__(self) -> None:
        super().__init__("results as Arrow need pyarrow, which is not installed: pip install 'esper-growth[notebook]'")


class ProjectionsBroken(ProjectionError):
    """The database failed at its own work: the question is not to blame, and another one would fare no better."""

    def __init__(self, cause: str) -> None:
        self.cause = cause
        super().__init__(f"the projection file cannot be read ({cause}): make it anew with esper project --rebuild")


class ProjectionsMissing(ProjectionError):
    """Nothing was projected here yet."""

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(f"there are no projections at {path}: start the stack, or rebuild them from the log")


class ProjectionsBusy(ProjectionError):
    """Another process owns the file; a DuckDB file has one owner. Ask the owner, or stop it first."""

    def __init__(self, path: Path, cause: str) -> None:
        self.path, self.cause = path, cause
        super().__init__(f"{path} belongs to another process: ask the projector, or stop it first ({cause})")
