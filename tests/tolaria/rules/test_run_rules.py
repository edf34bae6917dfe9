"""What a training run allows, and what its history means."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esper.leyline.v1.run_pb2 import (
    ChangeDeferred,
    Checkpoint,
    CheckpointCommitted,
    CommitCheckpoint,
    CompleteFork,
    DeferChange,
    EndEpoch,
    EpochEnded,
    EpochFacts,
    EpochsSkipped,
    FinishRun,
    RecordBranch,
    ResumeRun,
    RunBranched,
    RunFacts,
    RunFinished,
    RunForked,
    RunOrigin,
    RunResumed,
    RunStarted,
    RunSummary,
    SkipEpochs,
    StartRun,
)
from esper.leyline.v1.site_pb2 import Moment
from esper.tolaria.rules.run import RUN, Run, RunRuleBroken


def at(epoch: int, step: int | None = None) -> Moment:
    return Moment(epoch=epoch, step=100 * epoch if step is None else step)


def checkpoint(name: str = "k0", epoch: int = 0, step: int | None = None) -> Checkpoint:
    return Checkpoint(checkpoint_id=name, at=at(epoch, step))


def ends(epoch: int, step: int | None = None, score: float | None = None) -> EpochFacts:
    return EpochFacts(at=at(epoch, step), score=score)


def finish(epoch: int) -> RunSummary:
    return RunSummary(at=at(epoch), score=0.9)


STARTED = [RunStarted(facts=RunFacts(model_class="Net")), CheckpointCommitted(checkpoint=checkpoint())]
RUNNING = [
    *STARTED,
    EpochEnded(facts=ends(1, score=0.7)),
    CheckpointCommitted(checkpoint=checkpoint("k1", 1)),
    EpochEnded(facts=ends(2)),
]
FINISHED = [*RUNNING, RunFinished(summary=finish(2))]

START = StartRun(facts=RunFacts(model_class="Net"), checkpoint=checkpoint())
DEFER = DeferChange(command_id="c", seed_id="s0", reason="late", decided_for=at(1), at=at(2))
RESUME = ResumeRun(checkpoint_id="k1", at=at(1), attempt=2)
ORIGIN = RunOrigin(run_id="parent", position=7, checkpoint_id="k0")
COPYING = [RunStarted(facts=RunFacts(origin=ORIGIN)), CheckpointCommitted(checkpoint=checkpoint())]
FORKED = [*COPYING, RunForked(origin=ORIGIN)]
BRANCH = RecordBranch(run_id="child", position=7, checkpoint_id="k1")
BRANCHED = RunBranched(run_id="child", position=7, checkpoint_id="k1")

ALLOWED = [
    ("start", [], START, STARTED),
    ("first epoch", STARTED, EndEpoch(facts=ends(1)), [EpochEnded(facts=ends(1))]),
    ("next epoch", RUNNING, EndEpoch(facts=ends(3)), [EpochEnded(facts=ends(3))]),
    (
        "a gap",
        RUNNING,
        SkipEpochs(first_epoch=3, at=at(7), reason="full"),
        [EpochsSkipped(first_epoch=3, at=at(7), reason="full")],
    ),
    (
        "a gap of which the beginning is on record",
        RUNNING,
        SkipEpochs(first_epoch=1, at=at(4), reason="full"),
        [EpochsSkipped(first_epoch=3, at=at(4), reason="full")],
    ),
    ("a gap that is on record", RUNNING, SkipEpochs(first_epoch=1, at=at(2)), []),
    (
        "an epoch after a gap",
        [*RUNNING, EpochsSkipped(first_epoch=3, at=at(7))],
        EndEpoch(facts=ends(8)),
        [EpochEnded(facts=ends(8))],
    ),
    (
        "checkpoint",
        RUNNING,
        CommitCheckpoint(checkpoint=checkpoint("k2", 2)),
        [CheckpointCommitted(checkpoint=checkpoint("k2", 2))],
    ),
    (
        "deferral",
        RUNNING,
        DEFER,
        [ChangeDeferred(command_id="c", seed_id="s0", reason="late", decided_for=at(1), at=at(2))],
    ),
    ("resume", RUNNING, RESUME, [RunResumed(checkpoint_id="k1", at=at(1), attempt=2)]),
    ("fork completed", COPYING, CompleteFork(origin=ORIGIN), [RunForked(origin=ORIGIN)]),
    ("fork completed already", FORKED, CompleteFork(origin=ORIGIN), []),
    ("epoch of a fork", FORKED, EndEpoch(facts=ends(1)), [EpochEnded(facts=ends(1))]),
    ("branch", RUNNING, BRANCH, [BRANCHED]),
    ("branch after the end", FINISHED, BRANCH, [BRANCHED]),
    ("branch told already", [*FINISHED, BRANCHED], BRANCH, []),
    ("finish", RUNNING, FinishRun(summary=finish(2)), [RunFinished(summary=finish(2))]),
]
REFUSED = [
    ("started twice", RUNNING, START, "cannot StartRun: this run has started already"),
    ("started after the end", FINISHED, START, "started already"),
    ("epoch before the start", [], EndEpoch(facts=ends(1)), "cannot EndEpoch: this run has not started"),
    ("resume before the start", [], RESUME, "has not started"),
    ("epoch again", RUNNING, EndEpoch(facts=ends(2)), "epoch 2 does not follow epoch 2"),
    ("epoch left out", RUNNING, EndEpoch(facts=ends(4)), "epoch 4 does not follow epoch 2"),
    ("branch before the start", [], BRANCH, "has not started"),
    ("fork of nothing", RUNNING, CompleteFork(origin=ORIGIN), "this run was not forked"),
    ("epoch of half a fork", COPYING, EndEpoch(facts=ends(1)), "fork again"),
    ("resume of half a fork", COPYING, ResumeRun(checkpoint_id="k0", attempt=2), "fork again"),
    ("epoch back in steps", RUNNING, EndEpoch(facts=ends(3, 199)), "step 199 lies before step 200"),
    ("checkpoint back in steps", RUNNING, CommitCheckpoint(checkpoint=checkpoint("k", 2, 5)), "step 5 lies before"),
    ("finish back in steps", RUNNING, FinishRun(summary=finish(1)), "step 100 lies before"),
    ("deferred to the past", RUNNING, DeferChange(decided_for=at(2), at=at(1)), "earlier than step 200"),
    ("unknown checkpoint", RUNNING, ResumeRun(checkpoint_id="k9", attempt=2), "no checkpoint 'k9'"),
    ("attempt again", RUNNING, ResumeRun(checkpoint_id="k1", attempt=1), "attempt 1 does not follow attempt 1"),
    ("resume after the end", FINISHED, RESUME, "cannot ResumeRun: this run is finished"),
    ("epoch after the end", FINISHED, EndEpoch(facts=ends(3)), "this run is finished"),
    ("checkpoint after the end", FINISHED, CommitCheckpoint(checkpoint=checkpoint("k", 2)), "this run is finished"),
    ("deferral after the end", FINISHED, DEFER, "this run is finished"),
    ("finish again", FINISHED, FinishRun(summary=finish(2)), "this run is finished"),
]


@pytest.mark.parametrize(("given", "command", "events"), [row[1:] for row in ALLOWED], ids=[row[0] for row in ALLOWED])
def test_what_a_run_allows(given, command, events):
    assert RUN.decide(RUN.fold(given), command) == events


@pytest.mark.parametrize(("given", "command", "why"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_a_run_refuses(given, command, why):
    with pytest.raises(RunRuleBroken, match=why):
        RUN.decide(RUN.fold(given), command)


def test_the_history_of_a_run_is_its_state():
    run = RUN.fold(RUNNING)
    assert (run.epoch, run.step, run.attempt) == (2, 200, 1)
    assert run.checkpoints == {"k0", "k1"}
    assert run.last_checkpoint == checkpoint("k1", 1)
    assert (run.started, run.finished) == (True, False)


def test_the_score_is_the_newest_epochs_and_none_if_it_was_not_measured():
    assert Run().score is None
    assert RUN.fold(RUNNING[:3]).score == 0.7
    assert RUN.fold(RUNNING).score is None


def test_a_checkpoint_written_before_its_epochs_end_does_not_count_as_the_epoch():
    run = RUN.fold([*RUNNING, CheckpointCommitted(checkpoint=checkpoint("k3", 3))])
    assert RUN.decide(run, EndEpoch(facts=ends(3))) == [EpochEnded(facts=ends(3))]


def test_a_resumed_run_goes_on_from_the_furthest_that_is_recorded():
    run = RUN.fold([*RUNNING, RunResumed(checkpoint_id="k1", at=at(1), attempt=2)])
    assert (run.attempt, run.epoch) == (2, 2)
    assert RUN.decide(run, EndEpoch(facts=ends(3))) == [EpochEnded(facts=ends(3))]
    assert RUN.decide(run, ResumeRun(checkpoint_id="k0", at=at(0), attempt=3))


def test_deferrals_are_counted_and_a_finished_run_says_so():
    assert RUN.fold([*RUNNING, ChangeDeferred(), ChangeDeferred()]).deferred == 2
    assert RUN.fold(FINISHED).finished


EVENTS = st.lists(st.sampled_from([*FINISHED, ChangeDeferred(), RunResumed(attempt=2)]))


@given(EVENTS)
def test_no_history_is_refused_and_steps_never_go_back(events):
    run = RUN.initial
    for event in events:
        after = RUN.evolve(run, event)
        assert after.step >= run.step
        run = after
