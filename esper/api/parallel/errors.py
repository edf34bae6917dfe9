"""What several processes that train one model can meet.

EsperError
├── ParallelRefused   growth does not work with this while several processes train
├── RanksDiffer       the processes do not train the same thing
└── FirstRankFailed   the process that decides could not begin
"""

from collections.abc import Sequence

from esper.api.errors import EsperError


class ParallelRefused(EsperError):
    """Something that growth does not work with while several processes train; nothing was recorded."""

    def __init__(self, what: str, cure: str) -> None:
        self.what, self.cure = what, cure
        super().__init__(f"{what} does not go with growth in several processes: {cure}")


class RanksDiffer(EsperError):
    """The processes of one training differ in something that must be alike in all of them."""

    def __init__(self, what: str, found: Sequence[str], cure: str) -> None:
        self.what, self.found, self.cure = what, tuple(found), cure
        each = ", ".join(f"{value[:64]} at rank {rank}" for rank, value in enumerate(found))
        super().__init__(f"{what} differs: {each}. {cure}")


class FirstRankFailed(EsperError):
    """The process that decides could not begin; this one has nothing to follow."""

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(f"rank 0 could not begin: {why}")
