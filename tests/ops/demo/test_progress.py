"""The live line and the closing lines say what was measured."""

from pathlib import Path

from rich.console import Console

from esper.leyline.v1.enums_pb2 import SeedLifecycleStage as Stage
from esper.leyline.v1.run_pb2 import EpochFacts, KeptSeed, RunSummary
from esper.leyline.v1.site_pb2 import Moment, SeedObservation
from ops.demo.progress import Progress, epoch_line
from ops.demo.summary import kept_table, next_commands
from ops.demo.training import Plan


def facts(**changes):
    return EpochFacts(**{"at": Moment(epoch=3, step=102), "train_loss": 0.51234, "model_parameters": 1520, **changes})


def test_a_line_names_epoch_loss_score_parameters_and_seeds():
    seeds = [
        SeedObservation(seed_id="s0", stage=Stage.SEED_STAGE_TRAINING),
        SeedObservation(stage=Stage.SEED_STAGE_DORMANT),
    ]
    line = epoch_line(facts(score=0.875, growing_parameters=200, seeds=seeds), 24)
    assert line == "epoch 3/24 · loss 0.5123 · held-out 87.50% · 1,520 parameters (+200 growing) · 1 training"


def test_a_score_that_was_not_measured_is_not_shown_as_zero():
    assert "held-out not measured" in epoch_line(facts(), 24)


def test_without_a_terminal_every_epoch_is_a_plain_line():
    console = Console(width=40, force_terminal=False, record=True)
    with Progress(console) as progress:
        progress.start("abc123", 0, 24)
        progress.epoch_ended(facts(score=0.5), [])
    shown = console.export_text().splitlines()
    assert shown == ["run abc123", epoch_line(facts(score=0.5), 24)]


def test_a_kept_seed_is_shown_with_its_worth_in_points():
    seed = KeptSeed(seed_id="s1", blueprint_id="BP021", parameters=99, score_with=0.95, score_without=0.90)
    console = Console(width=120, record=True)
    console.print(kept_table(RunSummary(kept=[seed]), {"s1": "conv1 -> head"}))
    row = next(line for line in console.export_text().splitlines() if "BP021" in line)
    assert [cell.strip() for cell in row.strip("│┃ ").split("│")] == [
        "conv1 -> head",
        "BP021",
        "99",
        "95.00%",
        "90.00%",
        "+5.00",
    ]


def test_the_next_commands_carry_the_run_and_the_place():
    plan = Plan(seed=0, epochs=1, log="nats://127.0.0.1:4222", folder=Path("my runs"), resume=False)
    commands = [command for command, _ in next_commands(plan, "0123456789abcdef")]
    assert any("replay 0123456789ab --verify" in command for command in commands)
    assert all(command.endswith("--folder 'my runs' --log nats://127.0.0.1:4222") for command in commands)
