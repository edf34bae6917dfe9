"""Going back to a sound state: from a copy in memory where one fits, else from the checkpoint's blobs."""

from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any, NamedTuple

from torch import nn

from actors.changes import Instant
from actors.timeline import Rollback, Told
from actors.trainer import Trainer
from esper.api.checkpoints import Checkpoints, Taken
from esper.api.errors import NothingToGoBackTo
from esper.api.governor import Governor
from esper.api.growth import PLANTED, Growth
from esper.api.parallel.errors import ParallelRefused
from esper.api.script import Script
from esper.kasmina.live_seed import without_moments
from esper.kasmina.planted import facts_later
from esper.kasmina.rules.seed import Seed
from esper.leyline.v1.enums_pb2 import RollbackMode, RollbackTier
from esper.leyline.v1.enums_pb2 import SeedLifecycleStage as Stage
from esper.leyline.v1.run_pb2 import Checkpoint, CheckpointSeed, CompleteRollback, EpochFacts, RollBackRun
from esper.leyline.v1.site_pb2 import Moment
from esper.tolaria.snapshot import Shelf, Snapshot, put_back
from eventstore.errors import LogFull, StoreUnavailable

MIB = 2**20


class Prepared(NamedTuple):
    """Everything that a rollback needs, at hand and verified, before anything is decided.

    *modules*: None if every seed that is brought back still lives in the model, as the same module.
    """

    checkpoint: Checkpoint
    snapshot: Snapshot
    modules: Mapping[str, nn.Module] | None

    @property
    def tier(self) -> RollbackTier:
        """Where the state comes from."""
        fast = self.modules is None
        return RollbackTier.ROLLBACK_TIER_FAST if fast else RollbackTier.ROLLBACK_TIER_FULL


class Way(NamedTuple):
    """One way back, from one moment."""

    checkpoint_id: str
    stabilises: bool
    at: Instant


class Rollbacks:
    """A run's ways back. Training thread only; what is decided is on record before anything moves."""

    def __init__(
        self,
        trainer: Trainer,
        growth: Growth,
        checkpoints: Checkpoints,
        governor: Governor,
        script: Script,
        call: Callable[[Any], Any],
    ) -> None:
        self._trainer, self._growth, self._checkpoints = trainer, growth, checkpoints
        self._governor, self._script, self._call = governor, script, call
        limits = script.settings.rollback
        self._shelf = Shelf(limits.snapshots, int(limits.snapshots_mib * MIB))
        self._held: dict[str, Snapshot] = {}
        self._replayed: Rollback | None = None
        self._prepared: dict[Way, Prepared] = {}

    @property
    def shown(self) -> int:
        """How many rollbacks the model shows."""
        return self._trainer.timeline.number

    def keep(self, taken: Taken, *, for_good: bool = False) -> None:
        """Note a checkpoint that is committed now, and keep its copy in memory if it is a sound one.

        *for_good*: keep it until the session ends, whatever the limits are.
        """
        self._trainer.timeline.note(taken.checkpoint)
        if for_good:
            self._held[taken.checkpoint.checkpoint_id] = taken.snapshot
        elif taken.checkpoint.blessed:
            self._shelf.put(taken.checkpoint.checkpoint_id, taken.snapshot)

    @property
    def held(self) -> tuple[int, int]:
        """How many copies of sound states are held in memory, and their bytes."""
        return self._shelf.held

    @property
    def gives_up(self) -> bool:
        """Whether going back has been tried often enough without a sound checkpoint since."""
        timeline = self._trainer.timeline
        return timeline.lineage.in_a_row >= self._script.settings.vitals.rollbacks_in_a_row and not timeline.pardoned

    @property
    def pardoned(self) -> bool:
        """Whether somebody has acknowledged a halt since the newest rollback."""
        return self._trainer.timeline.pardoned

    def newest_sound(self) -> Checkpoint:
        """Return the checkpoint to which the governor goes back: if that has just not helped, the one before.

        Raises:
            NothingToGoBackTo: no checkpoint of this run was found sound.
        """
        found = self._trainer.timeline.lineage
        if not found.blessed:
            raise NothingToGoBackTo("")
        return found.blessed[-2 if found.in_a_row and len(found.blessed) > 1 else -1]

    def named(self, to: str | int | None) -> Checkpoint:
        """Return the blessed checkpoint called *to*: an epoch, an id or the beginning of one; None for the newest.

        Raises:
            NothingToGoBackTo: there is none, or more than one.
        """
        blessed = self._trainer.timeline.lineage.blessed
        if to is None:
            fitting = blessed[-1:]
        elif isinstance(to, int):
            fitting = tuple(each for each in blessed if each.at.epoch == to)[-1:]
        else:
            fitting = tuple(each for each in blessed if to and each.checkpoint_id.startswith(to))
        if len(fitting) != 1:
            raise NothingToGoBackTo("" if to is None else str(to))
        return fitting[0]

    def already(self, at: Moment) -> Rollback | None:
        """Return the rollback of this very moment that was shown from the record; asked twice, it is gone."""
        found, self._replayed = self._replayed, None
        return found if found is not None and found.effective == Instant.of(at) else None

    def decide(self, checkpoint: Checkpoint, mode: RollbackMode, reason: str, at: Moment) -> Rollback:
        """Record that the run goes back to *checkpoint*.

        Everything is read and verified first: what cannot be brought back is not decided.

        Raises:
            StoreUnavailable, TimeoutError: not known whether it is on record.
            KernelLost, CheckpointBroken, BlobMissing, BlobCorrupt: a part is damaged; nothing has happened.
        """
        timeline = self._trainer.timeline
        prepared = self._prepare(checkpoint, at, stabilises=mode == RollbackMode.ROLLBACK_MODE_STABILISE)
        command = RollBackRun(
            at=at,
            checkpoint_id=checkpoint.checkpoint_id,
            to=checkpoint.at,
            mode=mode,
            tier=prepared.tier,
            reason=reason,
            timeline=timeline.number + 1,
        )
        return self._call(self._trainer.roll_back(command))

    def apply(self, rollback: Rollback, at: Moment, *, replayed: bool) -> RollbackTier:
        """Make a rollback that is on record true in the model, whole or not at all; return where the state came from.

        Raises:
            StoreUnavailable, TimeoutError: nothing has moved; apply it again.
            KernelLost, CheckpointBroken, BlobMissing, BlobCorrupt: a part is damaged; nothing has moved.
            ParallelRefused: other processes train copies of the model, which would not go back with it.
        """
        if self._script.ranks.count > 1:
            raise ParallelRefused("a rollback", "resume the run in one process, or begin another")
        began = perf_counter()
        timeline, event = self._trainer.timeline, rollback.event
        known = (each for each, _ in timeline.lineage.checkpoints)
        checkpoint = next(each for each in known if each.checkpoint_id == event.checkpoint_id)
        prepared = self._prepare(checkpoint, at, stabilises=rollback.stabilises)
        held: tuple[EpochFacts, ...] = self._call(timeline.epochs_held(rollback))
        told: list[Told] = self._call(self._trainer.carry_out(rollback, checkpoint, at))
        self._fold(told)
        self._bring_back(prepared, at, stabilises=rollback.stabilises)
        self._growth.recall_only(held)
        self._growth.new_epoch()
        self._governor.back_to(prepared.snapshot.vitals)
        timeline.shown(rollback)
        self._prepared = {}
        self._replayed = rollback if replayed else None
        self._report(
            CompleteRollback(at=at, timeline=event.timeline, tier=prepared.tier, seconds=perf_counter() - began)
        )
        return prepared.tier

    def _report(self, command: CompleteRollback) -> None:
        try:
            self._call(self._trainer.timeline.complete(command))
        except (StoreUnavailable, LogFull, TimeoutError):
            # It says how long it took, which nothing rests on; the next fence finds out that the log is away.
            return

    def _prepare(self, checkpoint: Checkpoint, at: Moment, *, stabilises: bool) -> Prepared:
        way = Way(checkpoint.checkpoint_id, stabilises, Instant.of(at))
        prepared = self._prepared.get(way) or self._read(checkpoint, stabilises=stabilises)
        self._prepared = {way: prepared}
        return prepared

    def _read(self, checkpoint: Checkpoint, *, stabilises: bool) -> Prepared:
        snapshot = self._held.get(checkpoint.checkpoint_id) or self._shelf.get(checkpoint.checkpoint_id)
        if snapshot is not None and self._same_structure(checkpoint, stabilises=stabilises):
            return Prepared(checkpoint, snapshot, None)
        snapshot = snapshot or self._checkpoints.read(checkpoint)
        modules = {
            row.seed_id: self._checkpoints.opened(row)
            for row in checkpoint.seeds
            if _brought_back(row, stabilises=stabilises)
        }
        return Prepared(checkpoint, snapshot, modules)

    def _same_structure(self, checkpoint: Checkpoint, *, stabilises: bool) -> bool:
        """Whether every seed to bring back lives in the model now, and nothing else was kept since."""
        for row in checkpoint.seeds:
            now = self._growth.seeds[row.seed_id]
            if not _brought_back(row, stabilises=stabilises):
                if now.stage == Stage.SEED_STAGE_FOSSILIZED:
                    return False
            elif now.stage not in PLANTED or not _same_life(row, now):
                return False
        return True

    def _fold(self, told: list[Told]) -> None:
        for seed_id, events in told:
            for change in self._trainer.backlog.taken(seed_id, events[-1].version):
                for message in change.messages:
                    self._growth.fold(seed_id, message)  # type: ignore[arg-type]

    def _bring_back(self, prepared: Prepared, at: Moment, *, stabilises: bool) -> None:
        optimizer, growth = self._script.optimizer, self._growth
        steps = at.step - prepared.checkpoint.at.step
        for slot in growth.slots.values():
            slot.close_window()
        back = {row.seed_id for row in prepared.checkpoint.seeds if _brought_back(row, stabilises=stabilises)}
        for seed_id, slot in growth.slots.items():
            if prepared.modules is not None or seed_id not in back:
                slot.uproot(optimizer)
        for seed_id in (seed_id for seed_id in growth.in_order_of_joining() if seed_id in back):
            tensors, facts = prepared.snapshot.seeds[seed_id]
            later, slot = facts_later(facts, steps), growth.slots[seed_id]
            tensors = without_moments(tensors) if stabilises else tensors
            if prepared.modules is None:
                slot.reload(tensors, later)
                continue
            slot.load_state(
                tensors,
                later,
                module=prepared.modules[seed_id],
                learning_rate=growth.learning_rate(seed_id),
                optimizer=optimizer,
            )
        put_back(prepared.snapshot, self._script.model, optimizer, self._script.stateful, steady=stabilises)


def _brought_back(row: CheckpointSeed, *, stabilises: bool) -> bool:
    return row.stage == Stage.SEED_STAGE_FOSSILIZED if stabilises else row.stage in PLANTED


def _same_life(row: CheckpointSeed, now: Seed) -> bool:
    joined = (row.stage == Stage.SEED_STAGE_FOSSILIZED) == (now.stage == Stage.SEED_STAGE_FOSSILIZED)
    return joined and (row.generation, row.kernel_id) == (now.generation, now.kernel_id)
