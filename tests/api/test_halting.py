"""A run for which going back does not help is trained no further, in any process, until somebody acknowledges that."""

import msgspec
import pytest

from actors.verification import Verified, verify_run
from esper.api.acknowledge import acknowledge_on
from esper.api.errors import NothingToAcknowledge, RunIsHalted
from esper.api.forking import fork_on
from esper.leyline.v1.run_pb2 import CheckpointCommitted, HaltAcknowledged, RunHalted, RunResumed, RunRolledBack
from tests.api.scripted_log import FAST, Run, ScriptedLog, poison
from tests.api.test_retraining import Again

EACH = msgspec.structs.replace(FAST, checkpoint_every_epochs=1)


def halted(log: ScriptedLog) -> Run:
    run = Run(log, settings=EACH).to(4)
    for _ in range(3):
        poison(run)
    with pytest.raises(RunIsHalted, match="the loss is nan, after 3 rollbacks in a row"):
        poison(run)
    return run


def test_the_fourth_panic_in_a_row_halts_the_run(log: ScriptedLog):
    run = halted(log)
    assert [event.to.epoch for event in log.of(RunRolledBack)] == [4, 3, 2]
    (event,) = log.of(RunHalted)
    assert (event.at.step, event.timeline) == (run.session.global_step, 3)
    assert isinstance(log.read(verify_run(log.memory, run.session.run_id)), Verified)


def test_a_halted_run_is_not_resumed_until_somebody_has_looked(log: ScriptedLog):
    run = halted(log)
    for _ in range(2):
        with pytest.raises(RunIsHalted, match="esper acknowledge"):
            Run(log, resume="latest", settings=EACH)
    assert not log.of(RunResumed)
    assert log.read(acknowledge_on(log, "latest", "better data")) == run.session.run_id
    again = Run(log, resume="latest", settings=EACH)
    assert again.session.epoch == 4
    assert log.of(HaltAcknowledged)[0].reason == "better data"


def test_a_run_that_goes_on_after_a_halt_may_go_back_as_often_as_at_the_beginning(log: ScriptedLog):
    halted(log)
    log.read(acknowledge_on(log, "latest", "better data"))
    again = Run(log, resume="latest", settings=EACH)
    # As its script did before: three times that are on record, then the one that halted it, which does so no more.
    for _ in range(4):
        poison(again)
    assert len(log.of(RunRolledBack)) == 4
    for _ in range(2):
        poison(again)
    with pytest.raises(RunIsHalted):
        poison(again)
    assert len(log.of(RunRolledBack)) == 6
    assert [event.timeline for event in log.of(RunHalted)] == [3, 6]


def test_a_run_that_is_well_again_goes_on_to_its_end(log: ScriptedLog):
    halted(log)
    log.read(acknowledge_on(log, "latest", "better data"))
    again = Run(log, resume="latest", settings=EACH)
    for _ in range(3):
        poison(again)
    again.to(6).end()
    assert log.of(CheckpointCommitted)[-1].checkpoint.blessed


def test_what_the_log_does_not_hear_halts_nothing(log: ScriptedLog):
    run = Run(log, settings=EACH).to(4)
    for _ in range(3):
        poison(run)
    log.store.down = True
    poison(run)
    assert "the log did not answer" in run.said[-1]
    log.store.down = False
    assert not log.of(RunHalted)


def test_a_run_without_a_way_back_is_halted_too(log: ScriptedLog):
    settings = msgspec.structs.replace(EACH, rollback=msgspec.structs.replace(EACH.rollback, snapshots=0))
    run = Run(log, settings=settings).to(2)
    for committed in log.of(CheckpointCommitted):
        digest = committed.checkpoint.manifest_sha256
        (log.place.folder / "blobs" / digest[:2] / digest).unlink()
    with pytest.raises(RunIsHalted, match="there is no way back"):
        poison(run)


def test_a_fork_of_a_halted_run_is_halted_and_a_fork_from_before_is_not(log: ScriptedLog):
    run = halted(log)
    last = log.recorded()[-1].position
    made = log.read(fork_on(log, run.session.run_id, None, {}))
    with pytest.raises(RunIsHalted):
        Run(log, resume=made.run_id, settings=EACH)
    earlier = log.read(fork_on(log, run.session.run_id, last - 1, {}))
    assert Run(log, resume=earlier.run_id, settings=EACH).session.epoch == 4


def test_a_halted_run_is_trained_again_to_where_it_was_halted(log: ScriptedLog):
    halted(log)
    again = Again(log, settings=EACH)
    with again.session:
        again.train(4)
        for _ in range(3):
            poison(again)
        with pytest.raises(RunIsHalted):
            poison(again)
    assert again.session._retraining is not None
    assert again.session._retraining.result.identical


@pytest.mark.parametrize("run", ["latest", "f" * 32, "ab"])
def test_there_must_be_a_halt_to_acknowledge(log: ScriptedLog, run: str):
    Run(log, settings=EACH).to(1)
    with pytest.raises(NothingToAcknowledge):
        log.read(acknowledge_on(log, run, "why not"))
    assert not log.of(HaltAcknowledged)
