"""What of a run's history leads to its present state: everything that no rollback has abandoned."""

from collections.abc import Iterable
from typing import TypeAlias

import msgspec

from esper.leyline.v1.enums_pb2 import RollbackMode
from esper.leyline.v1.run_pb2 import (
    Checkpoint,
    CheckpointCommitted,
    EpochEnded,
    EpochFacts,
    HaltAcknowledged,
    RunRolledBack,
)
from esper.tolaria.rules.run import RunEvent

Reached: TypeAlias = tuple[Checkpoint, int]


class Lineage(msgspec.Struct, frozen=True):
    """The epochs and the checkpoints that are not abandoned, the oldest first.

    A checkpoint comes with the number of epochs it holds. `in_a_row` counts the stabilising rollbacks since the newest
    blessed checkpoint, or since a halt was acknowledged.
    """

    epochs: tuple[EpochFacts, ...] = ()
    checkpoints: tuple[Reached, ...] = ()
    in_a_row: int = 0

    @property
    def blessed(self) -> tuple[Checkpoint, ...]:
        """The checkpoints that a rollback may go back to, the oldest first."""
        return tuple(checkpoint for checkpoint, _ in self.checkpoints if checkpoint.blessed)

    def epochs_until(self, checkpoint_id: str) -> tuple[EpochFacts, ...]:
        """Return the epochs that a checkpoint of this lineage holds."""
        return next(self.epochs[:held] for known, held in self.checkpoints if known.checkpoint_id == checkpoint_id)

    def after(self, event: RunEvent) -> "Lineage":
        """Return the lineage once *event* has happened."""
        match event:
            case EpochEnded(facts=facts):
                return Lineage((*self.epochs, facts), self.checkpoints, self.in_a_row)
            case CheckpointCommitted(checkpoint=checkpoint):
                reached = (*self.checkpoints, (checkpoint, len(self.epochs)))
                return Lineage(self.epochs, reached, 0 if checkpoint.blessed else self.in_a_row)
            case RunRolledBack():
                return self._back_at(event)
            case HaltAcknowledged():
                return self.pardoned()
            case _:
                return self

    def pardoned(self) -> "Lineage":
        """Return the lineage of a run whose rollbacks so far are held against it no more."""
        return Lineage(self.epochs, self.checkpoints)

    def _back_at(self, event: RunRolledBack) -> "Lineage":
        ids = [checkpoint.checkpoint_id for checkpoint, _ in self.checkpoints]
        kept = self.checkpoints[: ids.index(event.checkpoint_id) + 1]
        governed = event.mode == RollbackMode.ROLLBACK_MODE_STABILISE
        return Lineage(self.epochs[: kept[-1][1]], kept, self.in_a_row + governed)


def lineage(events: Iterable[RunEvent]) -> Lineage:
    """Return the lineage of a run that has come to the last of *events*."""
    found = Lineage()
    for event in events:
        found = found.after(event)
    return found
