"""Checkpoints expire, by events; then what only they hold is swept up, and nothing else."""

import os
from pathlib import Path

import msgspec
import pytest

from actors.retention import Swept, named_in, sweep
from esper.api.errors import NothingToFork, NothingToGoBackTo, NothingToLoad
from esper.api.forking import fork_on
from esper.api.loading import read_grown, rebuild
from esper.api.slots import Accepted
from esper.leyline.v1.run_pb2 import CheckpointCommitted, CheckpointExpired
from esper.leyline.v1.seed_pb2 import SeedFossilized
from esper.tolaria.checkpoint import model_sha256
from eventstore.blobs import FolderBlobs
from eventstore.store import Recorded
from tests.api.scripted_log import DIES_AFTER, DIES_BEFORE, FAST, Killed, Run, ScriptedLog, narrow

FEW = msgspec.structs.replace(FAST, checkpoint_every_epochs=1, keep_checkpoints=2)
EPOCHS = 7
ALWAYS = 2**63


def blobs(log: ScriptedLog) -> FolderBlobs:
    assert isinstance(log.place.blobs, FolderBlobs)
    return log.place.blobs


def swept(log: ScriptedLog, folder: FolderBlobs | None = None) -> Swept:
    named = log.read(named_in(log.memory, expired_before_ns=ALWAYS))
    return sweep(folder or blobs(log), named, untouched_s=0.0)


def committed(log: ScriptedLog, run: Run) -> dict[int, Recorded]:
    """Return the run's checkpoints by their epochs."""
    own = [one for one in log.recorded() if one.stream.aggregate_id == run.session.run_id]
    return {one.event.checkpoint.at.epoch: one for one in own if isinstance(one.event, CheckpointCommitted)}


def loaded(log: ScriptedLog, at: int | None = None) -> str:
    model = narrow()
    rebuild(model, log.read(read_grown(log.memory, "latest", at)), log.place)
    return model_sha256(model)


def test_older_checkpoints_expire_and_are_refused_by_name_with_those_that_are_left(log: ScriptedLog):
    run = Run(log, settings=FEW).to(EPOCHS)
    there = committed(log, run)
    assert [event.held.epoch for event in log.of(CheckpointExpired)] == [1, 2, 3, 4, 5]
    left = rf"epoch 2 has expired; there are those of epoch 0 \(position \d+\), epoch 6 .*, epoch {EPOCHS}"
    with pytest.raises(NothingToLoad, match=left):
        loaded(log, there[2].position)
    with pytest.raises(NothingToFork, match=left):
        log.read(fork_on(log, "latest", there[2].position, {}))
    with pytest.raises(NothingToGoBackTo):
        run.session.rollback(2)
    assert isinstance(run.session.rollback(6), Accepted)
    run.assert_the_log_is_sound()


def test_a_run_without_the_setting_keeps_all(log: ScriptedLog):
    run = Run(log, settings=msgspec.structs.replace(FEW, keep_checkpoints=None)).to(4)
    before = blobs(log).digests()
    assert swept(log) == Swept()
    assert blobs(log).digests() == before
    assert isinstance(run.session.rollback(1), Accepted)


def test_a_sweep_removes_what_expired_and_everything_that_is_left_can_be_put_back(log: ScriptedLog):
    run = Run(log, settings=FEW).to(EPOCHS)
    assert log.of(SeedFossilized)
    before, weights = set(blobs(log).digests()), run.weights
    found = swept(log)
    assert found.checkpoints == 5
    assert found.blobs == len(before) - len(blobs(log).digests()) > 5
    assert found.shared > 0
    assert swept(log).blobs == 0
    assert loaded(log) == weights
    again = Run(log, resume="latest", settings=FEW)
    assert again.weights == weights
    assert isinstance(again.session.rollback(6), Accepted)
    made = log.read(fork_on(log, "latest", committed(log, run)[EPOCHS].position, {}))
    assert Run(log, resume=made.run_id, settings=FEW).weights == weights


def test_what_a_fork_holds_is_not_swept_for_its_parents_sake(log: ScriptedLog):
    run = Run(log, settings=FEW).to(3)
    made, then = log.read(fork_on(log, "latest", None, {})), run.weights
    run.to(EPOCHS)
    # That of epoch 1 had expired before, and those of 4 and 5 the fork never had.
    assert swept(log).checkpoints == 3
    fork = Run(log, resume=made.run_id, settings=FEW)
    assert (fork.session.epoch, fork.weights) == (3, then)
    assert isinstance(fork.session.rollback(2), Accepted)
    with pytest.raises(NothingToGoBackTo):
        fork.session.rollback(1)


class Dying(FolderBlobs):
    """Removes so many blobs, and then its process is no more."""

    def __init__(self, folder: Path, removals: int) -> None:
        super().__init__(folder)
        self.left = removals

    def remove(self, digest: str, *, untouched_s: float) -> int:
        if not self.left:
            raise Killed
        self.left -= 1
        return super().remove(digest, untouched_s=untouched_s)


def test_a_sweep_that_is_killed_anywhere_is_finished_by_the_next(log: ScriptedLog):
    run = Run(log, settings=FEW).to(EPOCHS)
    named = log.read(named_in(log.memory, expired_before_ns=ALWAYS))
    whole = sweep(blobs(log), named, untouched_s=0.0, dry_run=True)
    there = len(blobs(log).digests())
    for removals in (0, 1, 2, 3, 5):
        with pytest.raises(Killed):
            sweep(Dying(log.place.folder / "blobs", removals), named, untouched_s=0.0)
    swept(log)
    assert len(blobs(log).digests()) == there - whole.blobs
    assert loaded(log) == run.weights


def test_what_was_put_again_lately_stays_and_so_does_the_manifest_that_leads_to_it(log: ScriptedLog):
    Run(log, settings=FEW).to(5)
    folder, named = blobs(log), log.read(named_in(log.memory, expired_before_ns=ALWAYS))
    for digest in folder.digests():
        os.utime(folder._path(digest), (0, 0))
    would = sweep(folder, named, untouched_s=60.0, dry_run=True)
    manifest = next(iter(named.expired))
    part = msgspec.json.decode(folder.get(manifest))["parts"]["model"]["sha256"]
    folder.put(folder.get(part))
    found = sweep(folder, named, untouched_s=60.0)
    assert (found.too_young, found.blobs) == (1, would.blobs - 2)
    assert {part, manifest} <= set(folder.digests())
    assert swept(log).blobs == 2


def test_a_checkpoint_that_expired_lately_is_left_alone(log: ScriptedLog):
    Run(log, settings=FEW).to(5)
    assert log.of(CheckpointExpired)
    assert not log.read(named_in(log.memory, expired_before_ns=1)).expired


@pytest.mark.parametrize("dies", [DIES_BEFORE, DIES_AFTER])
@pytest.mark.parametrize("which", [1, pytest.param(0, marks=pytest.mark.slow), pytest.param(4, marks=pytest.mark.slow)])
def test_a_run_killed_while_checkpoints_expire_goes_on_to_the_same_weights(
    log: ScriptedLog, tmp_path: Path, which: int, dies: str
):
    other = ScriptedLog(tmp_path / "other", log.loop)
    unkilled = Run(other, settings=FEW).to(EPOCHS).weights
    log.store.script = {appends_until_expiry(other)[which]: dies}
    run = Run(log, settings=FEW)
    with pytest.raises(Killed):
        run.to(EPOCHS)
    assert len(log.of(CheckpointExpired)) == which + (dies == DIES_AFTER)
    log.store.script = {}
    swept(log)
    again = Run(log, resume="latest", settings=FEW).to(EPOCHS)
    assert again.weights == unkilled
    assert sorted(event.held.epoch for event in log.of(CheckpointExpired)) == [1, 2, 3, 4, 5]
    again.assert_the_log_is_sound()


def appends_until_expiry(log: ScriptedLog) -> list[int]:
    """Return the numbers of the run's own appends that let checkpoints expire."""
    own = [one for one in log.recorded() if one.stream.aggregate != "kernel"]
    positions = sorted({one.position for one in own})
    return [positions.index(one.position) + 1 for one in own if isinstance(one.event, CheckpointExpired)]
