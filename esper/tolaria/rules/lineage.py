"""What of a run's history leads to its present state: everything that no rollback has abandoned."""

from collections.abc import Iterable
from typing import TypeAlias

import msgspec
from msgspec.structs import replace

from esper.leyline.v1.enums_pb2 import RollbackMode
from esper.leyline.v1.run_pb2 import (
    Checkpoint,
    CheckpointCommitted,
    CheckpointExpired,
    EpochEnded,
    EpochFacts,
    HaltAcknowledged,
    RunRolledBack,
)
from esper.tolaria.rules.run import RunEvent

Reached: TypeAlias = tuple[Checkpoint, int]
BLESSED_KEPT = 2


class Lineage(msgspec.Struct, frozen=True):
    """The epochs and the checkpoints that are not abandoned, the oldest first.

    A checkpoint comes with the number of epochs it holds; those that have `expired` hold them, too, but nothing can be
    put back from them. `abandoned` are those that a rollback left behind. `in_a_row` counts the
    stabilising rollbacks since the newest blessed checkpoint, or since a halt was acknowledged.
    """

    epochs: tuple[EpochFacts, ...] = ()
    checkpoints: tuple[Reached, ...] = ()
    in_a_row: int = 0
    expired: frozenset[str] = frozenset()
    abandoned: tuple[Checkpoint, ...] = ()

    @property
    def blessed(self) -> tuple[Checkpoint, ...]:
        """The checkpoints that a rollback may go back to, the oldest first."""
        found = (checkpoint for checkpoint, _ in self.checkpoints if checkpoint.blessed)
        return tuple(checkpoint for checkpoint in found if checkpoint.checkpoint_id not in self.expired)

    def epochs_until(self, checkpoint_id: str) -> tuple[EpochFacts, ...]:
        """Return the epochs that a checkpoint of this lineage holds."""
        return next(self.epochs[:held] for known, held in self.checkpoints if known.checkpoint_id == checkpoint_id)

    def expiring(self, keep: int) -> tuple[Checkpoint, ...]:
        """Return the checkpoints that may expire when the newest *keep* are to stay, the oldest first.

        The first one stays, too: training again begins there. So do the two newest blessed ones: a governor that went
        back in vain goes back further.
        """
        held = [checkpoint for checkpoint, _ in self.checkpoints]
        kept = {each.checkpoint_id for each in (*held[:1], *held[-keep:], *self.blessed[-BLESSED_KEPT:])}
        gone = (each for each in (*self.abandoned, *held) if each.checkpoint_id not in kept | self.expired)
        return tuple(sorted(gone, key=lambda each: each.at.step))

    def after(self, event: RunEvent) -> "Lineage":
        """Return the lineage once *event* has happened."""
        match event:
            case EpochEnded(facts=facts):
                return replace(self, epochs=(*self.epochs, facts))
            case CheckpointCommitted(checkpoint=checkpoint):
                reached = (*self.checkpoints, (checkpoint, len(self.epochs)))
                return replace(self, checkpoints=reached, in_a_row=0 if checkpoint.blessed else self.in_a_row)
            case CheckpointExpired(checkpoint_id=gone):
                return replace(self, expired=self.expired | {gone})
            case RunRolledBack():
                return self._back_at(event)
            case HaltAcknowledged():
                return self.pardoned()
            case _:
                return self

    def pardoned(self) -> "Lineage":
        """Return the lineage of a run whose rollbacks so far are held against it no more."""
        return replace(self, in_a_row=0)

    def _back_at(self, event: RunRolledBack) -> "Lineage":
        ids = [checkpoint.checkpoint_id for checkpoint, _ in self.checkpoints]
        kept = self.checkpoints[: ids.index(event.checkpoint_id) + 1]
        governed = event.mode == RollbackMode.ROLLBACK_MODE_STABILISE
        return replace(
            self,
            epochs=self.epochs[: kept[-1][1]],
            checkpoints=kept,
            abandoned=(*self.abandoned, *(checkpoint for checkpoint, _ in self.checkpoints[len(kept) :])),
            in_a_row=self.in_a_row + governed,
        )


def lineage(events: Iterable[RunEvent]) -> Lineage:
    """Return the lineage of a run that has come to the last of *events*."""
    found = Lineage()
    for event in events:
        found = found.after(event)
    return found
