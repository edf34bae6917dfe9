"""What is asked of the sandbox's process, and what it answers."""

from typing import Literal, TypeAlias

import msgspec

Hazard: TypeAlias = Literal[
    "explode", "vanish", "nonfinite", "leak", "nondeterminism", "sensitivity", "hang", "memory", "crash"
]


# JSON has no infinity.
GREATEST = 1e300


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """Examine one blueprint at a site; *shape* is the hex of a SiteShape's bytes."""

    blueprint_id: str
    parameters: dict[str, float]
    shape: str
    init_seed: int
    # What one probe may take, and what it may allocate beside torch itself.
    limit_s: float
    memory_mib: int


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was measured, and the range that is harmless; a `high` of None is no bound.

    What is too great for a number, or is none, is recorded as GREATEST.
    """

    hazard: Hazard
    value: float
    low: float = 0.0
    high: float | None = None

    @property
    def raised(self) -> bool:
        """Whether it is outside that range."""
        return self.value < self.low or (self.high is not None and self.value > self.high)


class Examination(msgspec.Struct, frozen=True, kw_only=True):
    """What was found, in the order in which it was measured, and how the process ended."""

    blueprint_id: str
    findings: tuple[Finding, ...]
    # "": every probe ended. "hang", "memory", "crash": the next one did not, and the process was killed or died.
    ended: Literal["", "hang", "memory", "crash"] = ""
    detail: str = ""
    # From the fork to the end of the process.
    seconds: float = 0.0

    @property
    def hazards(self) -> frozenset[str]:
        """The hazards that were raised."""
        raised = {finding.hazard for finding in self.findings if finding.raised}
        return frozenset({*raised, self.ended} - {""})
