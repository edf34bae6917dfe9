"""Growth is frozen at once, whether or not the log answers, and stays so until it is let go on."""

import asyncio
from collections.abc import Callable
from threading import Thread
from time import perf_counter

import msgspec
import pytest
from google.protobuf.message import Message

from actors.clock import VirtualClock
from actors.dispatch import dispatch
from actors.ids import derived_id
from actors.streams import run_stream
from esper.api.brake import Brake, Word
from esper.api.slots import Accepted, Rejected
from esper.leyline.v1.enums_pb2 import EmergencyLevel
from esper.leyline.v1.fabric_pb2 import EmergencyRaised
from esper.leyline.v1.policy_pb2 import DecisionMissed
from esper.leyline.v1.run_pb2 import FreezeGrowth, GrowthFrozen, GrowthThawed, ThawGrowth
from esper.leyline.v1.seed_pb2 import SeedBlendingStarted, SeedGerminated
from esper.tolaria.rules.run import RUN
from eventstore.store import Context, StreamName
from tests.api.scripted_log import FAST, SPAN, STEPS, Run, ScriptedLog, breaks_while_blending

EACH = msgspec.structs.replace(FAST, checkpoint_every_epochs=1)


def told(log: ScriptedLog, run: Run, command: FreezeGrowth | ThawGrowth) -> None:
    """Record an operator's *command* to the run, and wait until its process has heard of it."""
    stream = run_stream(run.session.run_id)
    name = derived_id(run.session.run_id, str(stream), f"by hand/{command.raised_at_ns}")
    context = Context(command_id=name, command_type="", recorded_at_ns=1, actor="operator")
    assert log.read(dispatch(log.store, RUN, stream, command, context))
    until(log, lambda: run.session._fences.brake._heard)


def until(log: ScriptedLog, happened: Callable[[], object]) -> None:
    """Let the loop run until *happened* is true."""
    deadline = perf_counter() + 60
    while not happened():
        assert perf_counter() < deadline
        log.read(asyncio.sleep(0))


def raised(log: ScriptedLog, source: str, level: int) -> None:
    """Record an emergency, as the warden does."""
    emergency: Message = EmergencyRaised(level=level, source=source, reason="LogCorrupt", raised_at_ns=1)
    context = Context(command_id=source, command_type="", recorded_at_ns=1, actor="warden")
    log.read(log.memory.append(StreamName("emergency", source), [emergency], expected=0, context=context))


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


def test_an_operators_word_freezes_a_run_that_is_being_trained_and_lets_it_go_on(log: ScriptedLog):
    run = Run(log, settings=EACH).to(1)
    told(log, run, FreezeGrowth(reason="a fire drill", raised_at_ns=1))
    run.to(3)
    assert not log.of(SeedGerminated)
    assert [missed.reason for missed in log.of(DecisionMissed)] == ["growth is frozen: a fire drill"] * 2
    told(log, run, ThawGrowth(reason="it was one", raised_at_ns=2))
    run.to(6)
    assert log.of(SeedGerminated)
    assert len(log.of(GrowthFrozen)) == len(log.of(GrowthThawed)) == 1
    run.assert_the_log_is_sound()


def test_a_run_that_an_operator_froze_is_resumed_as_a_frozen_one(log: ScriptedLog):
    run = Run(log, settings=EACH).to(1)
    told(log, run, FreezeGrowth(reason="the weekend", raised_at_ns=1))
    again = Run(log, resume="latest", settings=EACH).to(4)
    assert not log.of(SeedGerminated)
    assert again.session.thaw()
    assert log.of(GrowthThawed)


def test_an_emergency_on_the_log_freezes_the_runs_that_are_trained_on_it(log: ScriptedLog):
    run = Run(log, settings=EACH).to(1)
    raised(log, "tezzeret", EmergencyLevel.EMERGENCY_LEVEL_ELEVATED)
    raised(log, "urza", EmergencyLevel.EMERGENCY_LEVEL_HALT)
    until(log, lambda: run.session._fences.brake._pulled)
    run.to(2)
    (frozen,) = log.of(GrowthFrozen)
    assert frozen.reason == "emergency: urza met LogCorrupt"
    assert not log.of(SeedGerminated)
    run.assert_the_log_is_sound()


def test_a_log_that_cannot_be_trusted_any_more_is_an_emergency_itself(log: ScriptedLog):
    run = Run(log, settings=EACH).to(1)

    async def damaged() -> None:
        context = Context(command_id="urza", command_type="", recorded_at_ns=1, actor="warden")
        await log.memory.append(StreamName("emergency", "urza"), [EmergencyRaised()], expected=0, context=context)
        log.memory._log[-1] = msgspec.structs.replace(log.memory._log[-1], data=b"not what was written")

    log.read(damaged())
    until(log, lambda: run.session._fences.brake._pulled)
    pulled = run.session._fences.brake.pulled
    assert pulled is not None
    assert pulled.reason.startswith("the log cannot be trusted: ")


NEWS: list[tuple[str, list[Word | tuple[str, int]], bool]] = [
    ("what was lifted since is old news", [("release", 5), Word(4, "late echo")], False),
    ("what is new holds", [("release", 5), Word(6, "new")], True),
    ("what only this process knows of is not lifted by others", [("pull", 0), Word(6, None)], True),
    ("what is on record is", [("pull", 0), ("record", 5), Word(6, None)], False),
    ("an older word does not lift it", [("pull", 0), ("record", 5), Word(4, None)], True),
    ("nor does a thaw that lies before it", [Word(7, "again"), ("release", 5)], True),
    ("the newest counts", [Word(6, "a"), Word(7, None), Word(8, "b")], True),
]


@pytest.mark.parametrize(("news", "frozen"), [told[1:] for told in NEWS], ids=[told[0] for told in NEWS])
def test_words_from_outside_are_weighed_by_their_place_in_the_log(news: list[Word | tuple[str, int]], frozen: bool):
    brake = Brake(VirtualClock(1))
    for word in news:
        match word:
            case Word():
                brake.hear(word)
            case ("pull", _):
                brake.pull("by hand")
            case ("record", position):
                pulled = brake.pulled
                assert pulled is not None
                brake.record(pulled, position)
            case (_, position):
                assert brake.pulled is None or brake.recorded
                brake.release(position)
    assert (brake.pulled is not None) is frozen
