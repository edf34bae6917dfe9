"""A halted run is trained no further until that is acknowledged."""

import pytest

from esper.leyline.v1.run_pb2 import (
    AcknowledgeHalt,
    CommitCheckpoint,
    EndEpoch,
    EpochFacts,
    HaltAcknowledged,
    HaltRun,
    ResumeRun,
    RunHalted,
)
from esper.tolaria.rules.lineage import lineage
from esper.tolaria.rules.run import RUN, RunRuleBroken
from tests.tolaria.rules.test_rollback_rules import ROLLED_BACK, RUNNING, STABILISE, ask, at, back, checkpoint

HALT = HaltRun(at=at(4, 460), reason="r", timeline=1)
HALTED = [*ROLLED_BACK, RunHalted(at=at(4, 460), reason="r", timeline=1)]


def test_a_run_is_halted_once():
    assert RUN.decide(RUN.fold(ROLLED_BACK), HALT) == [HALTED[-1]]
    assert RUN.decide(RUN.fold(HALTED), HALT) == []


def test_a_halt_belongs_to_the_timeline_that_it_was_decided_in():
    with pytest.raises(RunRuleBroken, match="timeline 0"):
        RUN.decide(RUN.fold(ROLLED_BACK), HaltRun(at=at(4, 460), reason="r", timeline=0))


@pytest.mark.parametrize(
    "command",
    [
        EndEpoch(facts=EpochFacts(at=at(5))),
        ResumeRun(checkpoint_id="k4", at=at(4), attempt=2),
        ask(2, at(4, 470), timeline=2),
    ],
)
def test_a_halted_run_refuses_to_be_trained_until_it_is_acknowledged(command: object):
    with pytest.raises(RunRuleBroken, match="nobody has acknowledged it: r"):
        RUN.decide(RUN.fold(HALTED), command)
    events = RUN.decide(RUN.fold(HALTED), AcknowledgeHalt(reason="seen"))
    assert events == [HaltAcknowledged(reason="seen", at=at(4, 460), timeline=1)]
    assert RUN.decide(RUN.fold([*HALTED, *events]), command)


def test_what_was_under_way_when_a_run_was_halted_is_recorded():
    run = RUN.fold(HALTED)
    assert RUN.decide(run, CommitCheckpoint(checkpoint=checkpoint(5, timeline=1)))


def test_there_is_nothing_to_acknowledge_of_a_run_that_is_not_halted():
    assert RUN.decide(RUN.fold(RUNNING), AcknowledgeHalt(reason="seen")) == []


def test_rollbacks_before_an_acknowledged_halt_are_not_counted_any_more():
    events = [*RUNNING, back(4, at(4, 450), 1, STABILISE), back(3, at(4, 460), 2, STABILISE)]
    assert lineage(events).in_a_row == 2
    assert lineage([*events, HaltAcknowledged(timeline=2)]).in_a_row == 0
