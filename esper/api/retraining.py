"""Training a run again with its recorded decisions at their recorded steps, and holding it against the record."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
from torch import nn

from actors.loop import BackgroundLoop
from actors.rehearsal import (
    RESULT_VARIABLE,
    Difference,
    Record,
    Retrained,
    difference,
    epoch_difference,
    read_record,
    rehearse,
)
from actors.runs import runs_called
from esper.api.errors import NothingToRetrain, RetrainDiverged
from esper.api.logs import MemoryLog, OpenLog
from esper.leyline.v1.run_pb2 import Checkpoint, CheckpointCommitted, EpochFacts, RunFinished
from esper.leyline.v1.site_pb2 import Moment
from esper.tolaria.checkpoint import model_sha256
from eventstore.store import EventStore

LOG_WAIT_S = 60.0


class Retraining:
    """What a session that trains a run again has compared so far.

    *positions* are those of the checkpoints, by epoch, in the log that is trained on.
    """

    def __init__(self, record: Record, positions: Mapping[int, int], say: Callable[[str], None]) -> None:
        self.result: Retrained = record.nothing_compared()
        self._record, self._positions, self._say = record, positions, say

    def epoch_ended(self, facts: EpochFacts, model: nn.Module) -> Checkpoint | None:
        """Hold an epoch's facts, and the weights if there was a checkpoint, against the record; return that one.

        Raises:
            RetrainDiverged: they differ; the error names the event.
        """
        epoch = facts.at.epoch
        if epoch in self._record.epochs:
            self._refuse(epoch_difference(self._record.epochs[epoch], facts))
            self._count(epochs=1)
        recorded = self._record.checkpoints.get(epoch)
        if recorded is None or not isinstance(recorded.event, CheckpointCommitted):
            return None
        checkpoint, now = recorded.event.checkpoint, model_sha256(model)
        then = checkpoint.model_sha256
        self._refuse(None if then == now else difference(recorded, "the weights", then, now))
        self._count(digests=1)
        return checkpoint

    def checkpointed(self, epoch: int) -> int | None:
        """Return the position of the checkpoint at the end of *epoch*; None if there is none.

        What was recorded after it was not true yet when its weights were taken.
        """
        return self._positions.get(epoch)

    def goes_back_to(self, checkpoint: Checkpoint) -> bool:
        """Whether the run was rolled back to *checkpoint*."""
        return checkpoint.checkpoint_id in self._record.gone_back_to

    def ended(self, at: Moment, model: nn.Module) -> None:
        """Hold the weights at the end of the session against those at the end of the run, if that is where it is.

        Raises:
            RetrainDiverged: they differ.
        """
        end = self._record.end
        if end is None or not isinstance(end.event, RunFinished) or end.event.summary.at != at:
            return
        then, now = end.event.summary.model_sha256, model_sha256(model)
        self._refuse(None if then == now else difference(end, "the weights", then, now))
        self._count(digests=1)

    def tell(self) -> None:
        """Say what came of it, to people and to the program that started the script."""
        found = self.result
        if found.difference is None:
            self._say(
                f"run {found.run_id} trained again: {found.epochs} of {found.epochs_on_record} epochs and "
                f"{found.digests} of {found.digests_on_record} digests of the weights compared, all identical"
            )
        if path := os.environ.get(RESULT_VARIABLE):
            found.write(Path(path))

    def _refuse(self, found: Difference | None) -> None:
        if found is not None:
            self.result = msgspec.structs.replace(self.result, difference=found)
            raise RetrainDiverged(found.position, found.event, found.epoch, found.what, found.recorded, found.found)

    def _count(self, *, epochs: int = 0, digests: int = 0) -> None:
        before = self.result
        self.result = msgspec.structs.replace(before, epochs=before.epochs + epochs, digests=before.digests + digests)


def record_of(run: str, real: EventStore, loop: BackgroundLoop) -> Record:
    """Return what *real* holds of the run called *run*.

    Raises:
        NothingToRetrain: no such run.
    """
    fitting = loop.call(runs_called(real, run), LOG_WAIT_S)
    record = loop.call(read_record(real, fitting[0]), LOG_WAIT_S) if len(fitting) == 1 else None
    if record is None or not record.commits:
        raise NothingToRetrain(run)
    return record


def rehearsal(record: Record, stage: OpenLog) -> Mapping[int, int]:
    """Write the run of *record* into the log in memory *stage*; return where its checkpoints stand there, by epoch."""
    if not isinstance(stage.log, MemoryLog):
        raise AssertionError("a run is trained again in memory only")
    return stage.loop.call(rehearse(record, stage.log.store), LOG_WAIT_S)
