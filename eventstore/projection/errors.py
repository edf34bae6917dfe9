"""What can go wrong with projections.

ProjectionError
├── QueryRefused         the SQL is not one harmless question; nothing was changed
├── QueryTimedOut        the question took longer than its limit and was stopped
├── ProjectionsMissing   there is no projection file yet
└── ProjectionsBusy      another process owns the file: ask it, or stop it first
"""

from pathlib import Path
from typing import Literal

from eventstore.errors import EventStoreError

RefusalReason = Literal[
    "not_sql", "not_one_statement", "not_a_question", "writes", "outside_access", "unknown_name", "failed"
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
