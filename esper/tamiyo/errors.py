"""What Tamiyo's rules refuse.

RuleBroken
├── PolicyRuleBroken    the controller was asked out of order
└── ReportRuleBroken    a field report that could never be written
"""

from esper.leyline.decider import RuleBroken


class PolicyRuleBroken(RuleBroken):
    """The controller was asked about an epoch although it has judged that one, or a later one, already."""

    def __init__(self, epoch: int, judged: int) -> None:
        self.epoch, self.judged = epoch, judged
        super().__init__(f"epoch {epoch} cannot be judged: epoch {judged} was judged already")


class ReportRuleBroken(RuleBroken):
    """A field report was asked for that could never be written; the message says what is missing."""
