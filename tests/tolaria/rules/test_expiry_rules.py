"""Which checkpoints of a run may expire, and what that means for the rest of its life."""

import pytest

from esper.leyline.v1.enums_pb2 import RollbackMode
from esper.leyline.v1.run_pb2 import (
    CheckpointCommitted,
    CheckpointExpired,
    ExpireCheckpoints,
    ExpiringCheckpoint,
    RollBackRun,
    RunFacts,
    RunStarted,
)
from esper.tolaria.rules.lineage import lineage
from esper.tolaria.rules.run import RUN, RunEvent, RunRuleBroken
from tests.tolaria.rules.test_rollback_rules import at, back, checkpoint, epochs

FIVE: list[RunEvent] = [
    RunStarted(facts=RunFacts()),
    CheckpointCommitted(checkpoint=checkpoint(0, blessed=False)),
    *epochs(1, 5),
]


def expiring(events: list[RunEvent], keep: int) -> list[str]:
    return [each.checkpoint_id for each in lineage(events).expiring(keep)]


@pytest.mark.parametrize(("keep", "gone"), [(1, "k1 k2 k3"), (2, "k1 k2 k3"), (3, "k1 k2"), (5, ""), (9, "")])
def test_the_first_the_newest_and_two_that_a_rollback_may_need_stay(keep: int, gone: str):
    assert expiring(FIVE, keep) == gone.split()


def test_a_blessed_checkpoint_stays_while_the_newer_ones_are_not():
    unsound = [CheckpointCommitted(checkpoint=checkpoint(epoch, blessed=False)) for epoch in (6, 7, 8)]
    assert expiring([*FIVE, *unsound], 1) == ["k1", "k2", "k3", "k6", "k7"]


def test_what_a_rollback_left_behind_expires_and_what_it_went_back_to_stays():
    assert expiring([*FIVE, back(2, at(5)), *epochs(6, 6)], 1) == ["k1", "k3", "k4", "k5"]


def test_nothing_expires_twice():
    assert expiring([*FIVE, CheckpointExpired(checkpoint_id="k2")], 1) == ["k1", "k3"]
    run = RUN.fold([*FIVE, CheckpointExpired(checkpoint_id="k2")])
    asked = [ExpiringCheckpoint(checkpoint_id=name, manifest_sha256="m", held=at(1)) for name in ("k1", "k2")]
    (told,) = RUN.decide(run, ExpireCheckpoints(at=at(5), checkpoints=asked))
    assert told == CheckpointExpired(at=at(5), checkpoint_id="k1", manifest_sha256="m", held=at(1))


def test_the_newest_checkpoint_never_expires():
    newest = [ExpiringCheckpoint(checkpoint_id="k5")]
    with pytest.raises(RunRuleBroken, match="what the run is resumed from"):
        RUN.decide(RUN.fold(FIVE), ExpireCheckpoints(at=at(5), checkpoints=newest))


def test_no_rollback_leads_to_what_has_expired():
    run = RUN.fold([*FIVE, CheckpointExpired(checkpoint_id="k2")])
    command = RollBackRun(at=at(5), checkpoint_id="k2", to=at(2), mode=RollbackMode.ROLLBACK_MODE_RESTORE, timeline=1)
    with pytest.raises(RunRuleBroken, match="no blessed checkpoint 'k2'"):
        RUN.decide(run, command)
    assert [each.checkpoint_id for each in lineage([*FIVE, CheckpointExpired(checkpoint_id="k2")]).blessed] == [
        "k1",
        "k3",
        "k4",
        "k5",
    ]
