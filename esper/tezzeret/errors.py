"""Why the forge gives up on an attempt."""

from typing import Literal, TypeAlias

FailureReason: TypeAlias = Literal["invalid", "build", "export", "package"]


class ForgeFailed(Exception):
    """A kernel could not be made at all, not even an eager one. The attempt is over."""

    def __init__(self, reason: FailureReason, detail: str) -> None:
        self.reason: FailureReason = reason
        self.detail = detail
        super().__init__(f"forging failed ({reason}): {detail}")
