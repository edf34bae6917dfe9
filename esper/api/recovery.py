"""What a session does when its losses say that the run is not well, and when its user says so."""

from collections.abc import Callable, Mapping
from typing import Literal

from torch import Tensor

from actors.timeline import Rollback
from esper.api.checkpoints import Taken
from esper.api.errors import KernelLost, NothingToGoBackTo, RunIsHalted
from esper.api.fences import Fences
from esper.api.governor import Governor
from esper.api.rollbacks import Rollbacks
from esper.api.slots import Accepted, Outcome, Rejected
from esper.leyline.v1.enums_pb2 import RollbackMode
from esper.leyline.v1.run_pb2 import Checkpoint
from esper.leyline.v1.site_pb2 import Moment
from esper.tolaria.checkpoint import CheckpointBroken
from esper.tolaria.rules.vitals import Panic, VitalsLimits
from eventstore.errors import BlobCorrupt, BlobMissing

MODES: Mapping[Literal["restore", "stabilise"], RollbackMode] = {
    "restore": RollbackMode.ROLLBACK_MODE_RESTORE,
    "stabilise": RollbackMode.ROLLBACK_MODE_STABILISE,
}
DAMAGED = (KernelLost, CheckpointBroken, BlobMissing, BlobCorrupt)


class Recovery:
    """Governor and rollbacks of one session. Training thread only."""

    def __init__(
        self,
        governor: Governor,
        rollbacks: Rollbacks,
        fences: Fences,
        limits: VitalsLimits,
        say: Callable[[str], None],
        *,
        run_id: str,
        culled: int,
    ) -> None:
        self._run_id, self._culled = run_id, culled
        self._governor, self._rollbacks, self._fences = governor, rollbacks, fences
        self._limits, self._say = limits, say
        self._noticed = rollbacks.shown
        self._said = ""

    def note(self, loss: Tensor, *, comparable: bool) -> Panic | None:
        """Note one step's loss; the panic it is cause for is reacted to at this step's fence."""
        return self._governor.note(loss, comparable=comparable)

    def heed_culls(self, culled: int) -> None:
        """Note how many seeds were removed so far: what a model loses with one, it may lose without being unwell."""
        if culled != self._culled:
            self._governor.begin_anew()
        self._culled = culled

    def look(self, at: Moment) -> None:
        """Look at the losses that were not looked at yet, and react to what they say."""
        self.react(self._governor.look(), at)

    def react(self, panic: Panic | None, at: Moment) -> None:
        """Go back to the newest sound checkpoint, unless the log holds already what came of this."""
        if panic is None or self.rolled_back or self._fences.closed_because or self._fences.repeats(at):
            return
        if not self._limits.governed:
            self._say_once(f"step {at.step}: {panic.reason}; the governor is off")
        elif self._rollbacks.gives_up:
            self._halt(f"{panic.reason}, after {self._limits.rollbacks_in_a_row} rollbacks in a row", at)
        else:
            self._go_back(panic, at)

    def _go_back(self, panic: Panic, at: Moment) -> None:
        try:
            checkpoint = self._rollbacks.newest_sound()
            rollback = self._fences.roll_back(checkpoint, MODES["stabilise"], panic.reason, at)
        except (NothingToGoBackTo, *DAMAGED) as damage:
            if self._rollbacks.pardoned:
                self._say_once(f"step {at.step}: {panic.reason}; there is no way back: {damage}")
            else:
                self._halt(f"{panic.reason}, and there is no way back: {damage}", at)
            return
        if rollback is None:
            self._say_once(f"step {at.step}: {panic.reason}; the log did not answer, so nothing was changed")
        else:
            self._say(f"step {at.step}: {panic.reason}; {_where(checkpoint)}, and seeds that still grew are culled")

    def _halt(self, reason: str, at: Moment) -> None:
        if not self._fences.halt(reason, at):
            self._say_once(f"step {at.step}: {reason}; the log did not answer, so the run is not halted")
            return
        raise RunIsHalted(self._run_id, reason)

    def by_hand(self, to: str | int | None, mode: RollbackMode, reason: str, at: Moment) -> Outcome:
        """Go back to the checkpoint called *to*; raises as `Rollbacks.named` and `Fences.roll_back` do."""
        found = self._rollbacks.already(at)
        if found is not None:
            return Accepted(found.position)
        if self._fences.repeats(at):
            return Rejected("the log is ahead of this moment, and holds no rollback here")
        checkpoint = self._rollbacks.named(to)
        rollback: Rollback | None = self._fences.roll_back(checkpoint, mode, reason, at)
        if rollback is None:
            return Rejected(f"the log did not answer: {self._fences.closed_because}")
        self._say(f"step {at.step}: {reason}; {_where(checkpoint)}")
        return Accepted(rollback.position)

    def keep(self, taken: Taken, *, for_good: bool = False) -> None:
        """Note a checkpoint that was just committed; see `Rollbacks.keep`."""
        self._rollbacks.keep(taken, for_good=for_good)
        if taken.checkpoint.blessed:
            self._said = ""

    @property
    def held(self) -> tuple[int, int]:
        """How many copies of sound states are held in memory, and their bytes."""
        return self._rollbacks.held

    @property
    def rolled_back(self) -> bool:
        """Whether the model was rolled back since `noticed_rollback` was asked last."""
        return self._noticed != self._rollbacks.shown

    def noticed_rollback(self) -> bool:
        """Tell it once."""
        found, self._noticed = self.rolled_back, self._rollbacks.shown
        return found

    def _say_once(self, line: str) -> None:
        reason = line.partition("; ")[2]
        if reason != self._said:
            self._said = reason
            self._say(line)


def _where(checkpoint: Checkpoint) -> str:
    return f"back to the state of epoch {checkpoint.at.epoch}, step {checkpoint.at.step}"
