"""What a run could not tell its log is told when the log is back, by whichever process, once."""

import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from actors.outbox import Outbox, left_over
from actors.verification import Verified, verify_run
from esper.api.errors import ResumeMismatch, RunFinishedAlready
from esper.leyline.v1.policy_pb2 import DecisionMissed
from esper.leyline.v1.report_pb2 import FieldReportOpened, FieldReportWritten
from esper.leyline.v1.run_pb2 import EpochEnded, EpochsSkipped, RunFinished
from tests.api.scripted_log import AFTER, BEFORE, DIES_AFTER, FAST, SPAN, Killed, Run, ScriptedLog

EPOCHS = 8
EVERY_THIRD = msgspec.structs.replace(FAST, checkpoint_every_epochs=3)


def epochs(log: ScriptedLog) -> list[int]:
    return [event.facts.at.epoch for event in log.of(EpochEnded)]


def missed(log: ScriptedLog) -> list[int]:
    return [event.at.epoch for event in log.of(DecisionMissed)]


def away_for_epochs_two_and_three(log: ScriptedLog, **changes: Any) -> Run:
    """Return a run whose log went away after its first epoch and is back after its third."""
    run = Run(log, settings=EVERY_THIRD, **changes).to(1)
    log.store.down = True
    run.to(3)
    log.store.down = False
    return run


def test_a_run_that_is_killed_while_its_log_is_away_loses_and_doubles_nothing(log: ScriptedLog, tmp_path: Path):
    unkilled = away_for_epochs_two_and_three(ScriptedLog(tmp_path / "unkilled", log.loop)).to(EPOCHS)
    killed = away_for_epochs_two_and_three(log)
    assert killed.session.outbox_depth == 4
    assert epochs(log) == [1]
    again = Run(log, resume="latest", settings=EVERY_THIRD)
    assert epochs(log) == [1, 2, 3]
    assert missed(log) == [2, 3]
    assert any("4 facts of run" in line for line in again.said)
    assert again.to(EPOCHS).weights == unkilled.weights
    again.assert_the_log_is_sound()
    assert again.end() == unkilled.end()
    assert not left_over(log.place.outboxes)


def test_without_its_outbox_such_a_run_forgets_what_it_trained(log: ScriptedLog):
    away_for_epochs_two_and_three(log)
    shutil.rmtree(log.place.outboxes)
    Run(log, resume="latest", settings=EVERY_THIRD).to(EPOCHS)
    assert missed(log) == []


def test_what_waits_is_told_when_the_log_is_back_without_a_kill(log: ScriptedLog):
    run = away_for_epochs_two_and_three(log)
    assert run.session.outbox_depth == 4
    assert any("4 facts wait" in line for line in run.said)
    run.to(EPOCHS)
    assert run.session.outbox_depth == 0
    assert [event.facts.outbox_depth for event in log.of(EpochEnded)][:4] == [0, 0, 2, 0]
    run.assert_the_log_is_sound()


@pytest.mark.parametrize("mode", [BEFORE, AFTER])
@pytest.mark.parametrize("which", range(1, 6))
def test_handing_over_can_be_interrupted_anywhere(log: ScriptedLog, which: int, mode: str):
    run = away_for_epochs_two_and_three(log)
    log.store.script = {log.store.appends + which: mode}
    run.to(EPOCHS)
    assert missed(log)[:2] == [2, 3]
    run.assert_the_log_is_sound()


@pytest.mark.parametrize("which", range(1, 5))
def test_a_process_that_dies_handing_over_leaves_the_rest_to_the_next(log: ScriptedLog, which: int):
    away_for_epochs_two_and_three(log)
    log.store.script = {log.store.appends + which: DIES_AFTER}
    with pytest.raises(Killed):
        Run(log, resume="latest", settings=EVERY_THIRD)
    again = Run(log, resume="latest", settings=EVERY_THIRD)
    assert (epochs(log), missed(log)) == ([1, 2, 3], [2, 3])
    again.to(EPOCHS).assert_the_log_is_sound()


def test_another_script_cannot_hand_over_what_a_run_left(log: ScriptedLog):
    away_for_epochs_two_and_three(log)
    with pytest.raises(ResumeMismatch):
        Run(log, resume="latest", settings=EVERY_THIRD, controller=None)
    assert epochs(log) == [1]
    assert list(left_over(log.place.outboxes).values()) == [4]


def test_what_a_log_refuses_does_not_hold_up_the_run(log: ScriptedLog):
    run = away_for_epochs_two_and_three(log)
    file = log.place.outboxes / f"{run.session.run_id}.outbox"
    outbox = Outbox(file)
    for letter in outbox.waiting()[:2]:
        outbox.acknowledge(letter.number)
    outbox.put(b"not from here")
    again = Run(log, resume="latest", settings=EVERY_THIRD)
    assert [line for line in again.said if "was refused" in line and "epoch 3 does not follow epoch 1" in line]
    assert again.to(3).session.epoch == 3


@pytest.mark.parametrize("without_outbox", [False, True])
def test_a_run_that_dies_right_after_its_end_leaves_no_report_open(log: ScriptedLog, without_outbox: bool):
    run = Run(log, settings=EVERY_THIRD).to(5)
    log.store.script = {log.store.appends + 1: DIES_AFTER}
    with pytest.raises(Killed):
        run.end()
    assert len(log.of(RunFinished)) == 1
    assert len(log.of(FieldReportWritten)) < len(log.of(FieldReportOpened))
    if without_outbox:
        shutil.rmtree(log.place.outboxes)
    for _ in range(2):
        with pytest.raises(RunFinishedAlready):
            Run(log, resume="latest", settings=EVERY_THIRD)
    opened, written = log.of(FieldReportOpened), log.of(FieldReportWritten)
    assert sorted(report.report_id for report in opened) == sorted(report.report_id for report in written)


def overflowing(log: ScriptedLog) -> Run:
    """Return a run whose outbox has room for an epoch or two of the ten for which its log is away."""
    run = Run(log, settings=EVERY_THIRD, outbox_bytes=6000).to(1)
    log.store.down = True
    run.to(11)
    return run


def gap(log: ScriptedLog) -> tuple[int, int]:
    (skipped,) = log.of(EpochsSkipped)
    return skipped.first_epoch, skipped.at.epoch


def test_an_outbox_that_is_full_costs_facts_but_neither_the_run_nor_the_count(log: ScriptedLog):
    run = overflowing(log)
    assert any("outbox is full" in line for line in run.said)
    assert (log.place.outboxes / f"{run.session.run_id}.outbox").stat().st_size < 7000
    log.store.down = False
    run.to(20)
    first, last = gap(log)
    assert last == 11
    assert epochs(log) == [*range(1, first), *range(12, 21)]
    assert missed(log) == list(range(2, first))
    assert run.session.stages[SPAN] == "fossilized"
    assert isinstance(log.read(verify_run(log.memory, run.session.run_id)), Verified)
    assert run.folded() == run.seeds()


def test_a_run_that_skipped_epochs_is_executed_again_from_its_log_alone(log: ScriptedLog):
    run = overflowing(log)
    log.store.down = False
    run.to(20)
    log_again = Run(log, resume="latest", settings=EVERY_THIRD)
    assert log_again.session.epoch == 18
    once = gap(log)
    assert log_again.to(20).weights == run.weights
    assert gap(log) == once


def test_a_run_killed_with_a_full_outbox_knows_which_epochs_it_skipped(log: ScriptedLog):
    overflowing(log)
    log.store.down = False
    again = Run(log, resume="latest", settings=EVERY_THIRD)
    first, last = gap(log)
    assert last == 11
    assert again.session.epoch == 0
    again.to(20)
    assert epochs(log) == [*range(1, first), *range(12, 21)]
    assert again.folded() == again.seeds()
