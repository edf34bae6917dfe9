"""Taking a run's whole state at an epoch's end, and putting it back in another process."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, cast

import msgspec
from torch import nn

from actors.ids import derived_id
from actors.place import Place
from actors.trainer import Trainer
from esper.api.errors import KernelLost, ResumeMismatch
from esper.api.governor import Governor
from esper.api.growth import Growth
from esper.api.kernels import open_verified
from esper.api.regrowing import fold_to, regrow, require_blueprints
from esper.api.script import Script
from esper.kasmina.ranks import Ranks
from esper.kasmina.rules.seed import SEED, Seed, SeedEvent
from esper.leyline.canonical import sha256_hex
from esper.leyline.v1.run_pb2 import Checkpoint, CheckpointSeed, EpochFacts
from esper.leyline.v1.site_pb2 import Moment
from esper.tolaria.checkpoint import capture, model_sha256, ranks_in, read, restore, write
from esper.tolaria.encoding import encode
from esper.tolaria.rules.vitals import Vitals
from esper.tolaria.snapshot import Snapshot, from_parts, take
from esper.urza.errors import BundleRefused
from eventstore.errors import LogReplaced
from eventstore.store import LogIdentity, Recorded


class Taken(NamedTuple):
    """A checkpoint whose parts are stored, and a copy in memory of what it holds."""

    checkpoint: Checkpoint
    snapshot: Snapshot


class Checkpoints:
    """Saves and restores one run's model, optimizer, seeds, random streams and whatever else the user named."""

    def __init__(
        self,
        trainer: Trainer,
        place: Place,
        growth: Growth,
        governor: Governor,
        script: Script,
        call: Callable[[Any], Any],
    ) -> None:
        self._trainer, self._place, self._growth, self._call = trainer, place, growth, call
        self._governor = governor
        self._model, self._optimizer, self._stateful = script.model, script.optimizer, script.stateful
        self._ranks = script.ranks
        # Of the processes that train copies of the model, and what was put back when the run was resumed.
        self.companions: Callable[[], Mapping[str, bytes]] = _none
        self.restored: Checkpoint | None = None

    def save(self, at: Moment) -> Taken:
        """Write every part durably, then commit the checkpoint by its event.

        Raises:
            StoreUnavailable, TimeoutError: there is no checkpoint; its parts are garbage that harms nobody.
            Unsavable: a state_dict holds a value that is not plain data.
        """
        taken = self.take(at)
        self._call(self._trainer.commit_checkpoint(taken.checkpoint))
        return taken

    def expire(self, at: Moment, keep: int) -> None:
        """Let all but the newest *keep* checkpoints expire, by their events; their bytes are not touched here.

        Raises:
            StoreUnavailable, TimeoutError: not known whether they have; ask again after the next checkpoint.
        """
        self._call(self._trainer.expire_checkpoints(at, keep))

    def take(self, at: Moment) -> Taken:
        """Write every part durably and return the checkpoint that names them.

        It is blessed if the newest losses were normal, and all that was learnt is finite.
        """
        states = {seed_id: slot.state() for seed_id, slot in self._growth.slots.items()}
        seeds = {seed_id: {"tensors": tensors, "facts": facts} for seed_id, (tensors, facts) in states.items()}
        vitals = self._governor.vitals
        parts = capture(self._model, self._optimizer, seeds, self._stateful)
        parts["vitals"] = encode(msgspec.to_builtins(vitals))
        parts |= self.companions()
        snapshot = take(self._model, self._optimizer, self._stateful, states, vitals)
        manifest, size = write(parts, self._place.blobs.put)
        identity: LogIdentity = self._call(self._trainer.log_identity())
        versions = {seed_id: seed.version for seed_id, seed in self._growth.seeds.items()}
        digests = {seed_id: sha256_hex(encode(tensors)) for seed_id, (tensors, _) in states.items() if tensors}
        checkpoint = Checkpoint(
            checkpoint_id=derived_id(self._trainer.run_id, "checkpoint", str(at.epoch), manifest),
            at=at,
            manifest_sha256=manifest,
            bytes=size,
            seeds=self._growth.seed_map(versions, digests),
            model_sha256=model_sha256(self._model),
            log_created_ns=identity.created_ns,
            log_first_position=identity.first_position,
            log_last_position=identity.last_position,
            blessed=self._governor.well and snapshot.finite,
            timeline=self._trainer.timeline.number,
        )
        return Taken(checkpoint, snapshot)

    def copied(self) -> Snapshot:
        """Copy everything that a checkpoint would hold now."""
        states = {seed_id: slot.state() for seed_id, slot in self._growth.slots.items()}
        return take(self._model, self._optimizer, self._stateful, states, self._governor.vitals)

    def read(self, checkpoint: Checkpoint) -> Snapshot:
        """Read all of *checkpoint*, verified.

        Raises:
            CheckpointBroken, BlobMissing, BlobCorrupt: a part is damaged.
        """
        parts = read(checkpoint.manifest_sha256, self._place.blobs.get)
        return from_parts(parts, _vitals(parts))

    def opened(self, row: CheckpointSeed) -> nn.Module:
        """Build the module of the seed that *row* describes from its kernel, verified.

        Raises:
            KernelLost: the kernel no longer verifies.
        """
        history: Sequence[Recorded] = self._call(self._trainer.history(row.seed_id))
        seed = SEED.fold(cast("SeedEvent", each.event) for each in history if each.version <= row.version)
        return self._module(row.seed_id, seed)

    def restore(
        self,
        checkpoint: Checkpoint,
        found: LogIdentity,
        seeds: Mapping[str, Sequence[Recorded]],
        epochs: Sequence[EpochFacts],
    ) -> None:
        """Rebuild the seeds from their kernels and put everything back as *checkpoint* found it.

        *found* is the log's identity now; *seeds* the streams of all slots; *epochs* those that *checkpoint* holds.

        Raises:
            LogReplaced: the checkpoint belongs to another log, or to a longer one.
            ResumeMismatch: it was taken of a training by more processes, or fewer.
            KernelLost: a seed's kernel no longer verifies.
            BlueprintMissing: a seed's own blueprint is not registered here as it was.
            CheckpointBroken, BlobMissing, BlobCorrupt: a part is damaged.
        """
        _refuse_other_log(checkpoint, found)
        require_blueprints(checkpoint, seeds)
        parts = read(checkpoint.manifest_sha256, self._place.blobs.get)
        demand_same_count(parts, self._ranks)
        fold_to(self._growth, checkpoint, seeds)
        for facts in epochs:
            self._growth.recall(facts)
        regrow(self._growth, parts, self._place, self._model, self._optimizer)
        restore(parts, self._model, self._optimizer, self._stateful)
        # A checkpoint ends an epoch: what is counted per epoch begins anew, as it did when training went on then.
        self._growth.new_epoch()
        self._governor.back_to(_vitals(parts))
        self.restored = checkpoint

    def _module(self, seed_id: str, seed: Seed) -> nn.Module:
        try:
            return open_verified(self._place, self._model, seed, seed.kernel_id, self._growth.kernels).module
        except BundleRefused as refused:
            raise KernelLost(seed_id, seed.kernel_id, str(refused)) from refused


def demand_same_count(parts: Mapping[str, Any], ranks: Ranks) -> None:
    """Refuse to go on with other processes than those whose state a checkpoint's *parts* hold.

    Raises:
        ResumeMismatch: there are more, or fewer.
    """
    if ranks_in(parts) != ranks.count:
        raise ResumeMismatch("the number of processes", str(ranks_in(parts)), str(ranks.count))


def _none() -> Mapping[str, bytes]:
    return {}


def _vitals(parts: Mapping[str, Any]) -> Vitals:
    """Return the vitals that a checkpoint holds; what was recorded before there were any begins afresh."""
    return msgspec.convert(parts["vitals"], Vitals) if "vitals" in parts else Vitals()


def _refuse_other_log(checkpoint: Checkpoint, found: LogIdentity) -> None:
    if found.created_ns != checkpoint.log_created_ns:
        raise LogReplaced(f"one created at {checkpoint.log_created_ns} ns", f"one created at {found.created_ns} ns")
    if found.last_position < checkpoint.log_last_position or found.first_position > checkpoint.log_first_position:
        raise LogReplaced(
            f"positions {checkpoint.log_first_position}..{checkpoint.log_last_position}",
            f"positions {found.first_position}..{found.last_position}",
        )
