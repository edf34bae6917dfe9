"""What may be rolled back, and what of a run's history then leads to its state."""

import pytest

from esper.leyline.v1.enums_pb2 import RollbackMode
from esper.leyline.v1.run_pb2 import (
    Checkpoint,
    CheckpointCommitted,
    CommitCheckpoint,
    CompleteRollback,
    EndEpoch,
    EpochEnded,
    EpochFacts,
    RollBackRun,
    RunFacts,
    RunRolledBack,
    RunStarted,
)
from esper.leyline.v1.site_pb2 import Moment
from esper.tolaria.rules.lineage import lineage
from esper.tolaria.rules.run import RUN, RunEvent, RunRuleBroken

RESTORE, STABILISE = RollbackMode.ROLLBACK_MODE_RESTORE, RollbackMode.ROLLBACK_MODE_STABILISE


def at(epoch: int, step: int | None = None) -> Moment:
    return Moment(epoch=epoch, step=100 * epoch if step is None else step)


def checkpoint(epoch: int, *, blessed: bool = True, timeline: int = 0) -> Checkpoint:
    return Checkpoint(checkpoint_id=f"k{epoch}", at=at(epoch), blessed=blessed, timeline=timeline)


def epochs(first: int, last: int) -> list[RunEvent]:
    """Return epochs that ended with a score of their own, each with a checkpoint."""
    return [
        event
        for epoch in range(first, last + 1)
        for event in (
            EpochEnded(facts=EpochFacts(at=at(epoch), score=epoch / 10)),
            CheckpointCommitted(checkpoint=checkpoint(epoch)),
        )
    ]


def back(to: int, now: Moment, timeline: int = 1, mode: RollbackMode = RESTORE) -> RunRolledBack:
    facts = EpochFacts(at=at(to), score=to / 10)
    return RunRolledBack(
        at=now, checkpoint_id=f"k{to}", to=at(to), mode=mode, timeline=timeline, last_epoch=facts, reason="r"
    )


def ask(to: int, now: Moment, timeline: int = 1, mode: RollbackMode = RESTORE) -> RollBackRun:
    return RollBackRun(at=now, checkpoint_id=f"k{to}", to=at(to), mode=mode, timeline=timeline, reason="r")


STARTED: list[RunEvent] = [RunStarted(facts=RunFacts()), CheckpointCommitted(checkpoint=checkpoint(0))]
RUNNING = [*STARTED, *epochs(1, 4)]
ROLLED_BACK = [*RUNNING, back(2, at(4, 450))]


def test_a_run_goes_back_to_a_blessed_checkpoint():
    (event,) = RUN.decide(RUN.fold(RUNNING), ask(2, at(4, 450)))
    assert isinstance(event, RunRolledBack)
    assert (event.checkpoint_id, event.timeline, event.to) == ("k2", 1, at(2))


@pytest.mark.parametrize(
    ("given", "command", "why"),
    [
        ([], ask(2, at(4)), "has not started"),
        (RUNNING, ask(9, at(4)), "no blessed checkpoint 'k9'"),
        ([*RUNNING, CheckpointCommitted(checkpoint=checkpoint(5, blessed=False))], ask(5, at(5)), "no blessed"),
        (RUNNING, ask(2, at(4), timeline=2), "timeline 1, and the run was rolled back to begin timeline 0"),
        (ROLLED_BACK, ask(2, at(4, 460)), "timeline 0, and the run was rolled back to begin timeline 1"),
        (ROLLED_BACK, ask(2, at(4, 449), timeline=2), "step 449 lies before step 450"),
        (RUNNING, ask(2, at(4), mode=RollbackMode.ROLLBACK_MODE_UNSPECIFIED), "restore or to stabilise"),
        (ROLLED_BACK, CommitCheckpoint(checkpoint=checkpoint(5)), "belongs to timeline 0"),
        (RUNNING, CompleteRollback(timeline=1), "belongs to timeline 1"),
    ],
)
def test_what_a_rollback_may_not_do(given: list[RunEvent], command: RollBackRun, why: str):
    with pytest.raises(RunRuleBroken, match=why):
        RUN.decide(RUN.fold(given), command)


def test_the_clocks_go_on_and_the_rest_is_what_it_was():
    then, now = RUN.fold([*STARTED, *epochs(1, 2)]), RUN.fold(ROLLED_BACK)
    assert (now.epoch, now.step, now.timeline) == (4, 450, 1)
    assert (now.score, now.last_epoch) == (then.score, then.last_epoch)
    facts = EpochFacts(at=at(5), score=0.5)
    assert RUN.decide(now, EndEpoch(facts=facts)) == [EpochEnded(facts=facts)]
    assert RUN.decide(now, CommitCheckpoint(checkpoint=checkpoint(5, timeline=1)))


def test_a_lineage_holds_what_no_rollback_has_abandoned():
    found = lineage([*ROLLED_BACK, *epochs(5, 6)])
    assert [facts.at.epoch for facts in found.epochs] == [1, 2, 5, 6]
    assert [each.checkpoint_id for each in found.blessed] == ["k0", "k1", "k2", "k5", "k6"]
    assert [facts.at.epoch for facts in found.epochs_until("k5")] == [1, 2, 5]


def test_a_lineage_counts_how_often_going_back_did_not_help():
    twice = [*RUNNING, back(4, at(4, 450), 1, STABILISE), back(3, at(4, 460), 2, STABILISE)]
    assert lineage(twice).in_a_row == 2
    assert lineage([*twice, *epochs(5, 5)]).in_a_row == 0
    assert lineage([*twice, CheckpointCommitted(checkpoint=checkpoint(5, blessed=False))]).in_a_row == 2
    assert lineage(ROLLED_BACK).in_a_row == 0
