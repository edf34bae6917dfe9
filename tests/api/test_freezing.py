"""Growth is frozen at once, whether or not the log answers, and stays so until it is let go on."""

from threading import Thread
from time import perf_counter

import msgspec
import pytest

from esper.api.slots import Accepted, Rejected
from esper.leyline.v1.policy_pb2 import DecisionMissed
from esper.leyline.v1.run_pb2 import GrowthFrozen, GrowthThawed
from esper.leyline.v1.seed_pb2 import SeedBlendingStarted, SeedGerminated
from tests.api.scripted_log import FAST, SPAN, STEPS, Run, ScriptedLog, breaks_while_blending

EACH = msgspec.structs.replace(FAST, checkpoint_every_epochs=1)


def test_nothing_grows_while_growth_is_frozen_and_the_training_goes_on(log: ScriptedLog):
    run = Run(log, settings=EACH).to(1)
    run.session.freeze("the fans have stopped")
    before = run.weights
    run.to(4)
    assert not log.of(SeedGerminated)
    assert run.weights != before
    assert [missed.reason for missed in log.of(DecisionMissed)] == ["growth is frozen: the fans have stopped"] * 3
    assert run.session.thaw("they turn again")
    run.to(6)
    assert log.of(SeedGerminated)
    (frozen,), (thawed,) = log.of(GrowthFrozen), log.of(GrowthThawed)
    assert (frozen.reason, frozen.late, frozen.at.step) == ("the fans have stopped", False, STEPS + 1)
    assert thawed.reason == "they turn again"
    run.assert_the_log_is_sound()


def test_it_holds_within_a_tenth_of_a_second_from_any_thread_while_the_log_is_away(log: ScriptedLog):
    run = Run(log, settings=EACH).to(3)
    log.store.down = True
    began = perf_counter()
    signal = Thread(target=run.session.freeze, args=("overheating",))
    signal.start()
    signal.join()
    outcome = run.session.slots[SPAN].blend({"epochs_in_stage": 9.0})
    assert perf_counter() - began < 0.1
    assert outcome == Rejected("growth is frozen: overheating")
    run.to(5)
    log.store.down = False
    run.to(6)
    (frozen,) = log.of(GrowthFrozen)
    assert (frozen.reason, frozen.late) == ("overheating", True)
    assert frozen.at.step > 3 * STEPS
    assert run.session.stages[SPAN] == "training"
    assert not log.of(SeedBlendingStarted)
    run.assert_the_log_is_sound()


def test_what_fails_is_culled_all_the_same(log: ScriptedLog):
    run = Run(log, settings=EACH).to(4)
    run.session.freeze("to see")
    run.to(5, breaks_while_blending)
    assert run.session.stages[SPAN] == "culled"
    assert isinstance(run.session.rollback(), Accepted)


def test_a_frozen_run_that_is_resumed_is_frozen_and_takes_the_same_path(log: ScriptedLog):
    settings = msgspec.structs.replace(FAST, checkpoint_every_epochs=3)

    def each(run: Run) -> None:
        if run.session.global_step == 2 * STEPS + 4:
            run.session.freeze("to see")

    run = Run(log, settings=settings).to(5, each)
    again = Run(log, resume="latest", settings=settings)
    assert again.session.epoch == 3
    again.to(5, each)
    assert again.weights == run.weights
    assert isinstance(again.session.slots[SPAN].blend({}), Rejected)
    assert again.session.thaw()
    again.to(8)
    assert log.of(SeedBlendingStarted)
    again.assert_the_log_is_sound()


@pytest.mark.parametrize("times", [1, 3])
def test_freezing_again_changes_nothing_and_thawing_what_is_not_frozen_neither(log: ScriptedLog, times: int):
    run = Run(log, settings=EACH)
    assert run.session.thaw()
    for _ in range(times):
        run.session.freeze("once")
        run.steps(1)
    assert len(log.of(GrowthFrozen)) == 1
    assert not log.of(GrowthThawed)
