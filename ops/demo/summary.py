"""What the demo prints at its end: what grew, what it is worth, and what to type next."""

import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from esper.leyline.v1.run_pb2 import RunSummary
from ops.demo.endings import Ending
from ops.demo.images import Images
from ops.demo.training import Outcome, Plan


def print_summary(console: Console, images: Images, plan: Plan, outcome: Outcome) -> None:
    """Print *outcome*; every number in it was measured in this run."""
    summary = outcome.summary
    if summary.kept:
        console.print(kept_table(summary, outcome.site_labels))
    else:
        console.print("No seed was kept in this run.")
    culled = [ending for ending in outcome.endings if not ending.kept]
    if culled:
        console.print(culled_table(culled))
    console.print(facts_table(images, outcome))
    console.print("Next:")
    for command, purpose in next_commands(plan, outcome.run_id):
        console.print(f"  {command}  [dim]# {purpose}[/dim]", highlight=False, soft_wrap=True)


def kept_table(summary: RunSummary, site_labels: Mapping[str, str]) -> Table:
    """Return the seeds that were kept, with the held-out accuracy of the same weights with and without each."""
    table = Table(title="Kept seeds: held-out accuracy of the same weights, seed on and off")
    table.add_column("site")
    table.add_column("blueprint")
    for name in ("parameters", "with", "without", "worth (points)"):
        table.add_column(name, justify="right")
    for seed in summary.kept:
        worth = 100 * (seed.score_with - seed.score_without)
        table.add_row(
            site_labels[seed.seed_id],
            seed.blueprint_id,
            f"{seed.parameters:,}",
            f"{seed.score_with:.2%}",
            f"{seed.score_without:.2%}",
            f"{worth:+.2f}",
        )
    return table


def culled_table(endings: Sequence[Ending]) -> Table:
    """Return the seeds that were removed, each with the reason that was measured."""
    table = Table(title="Culled seeds")
    table.add_column("site")
    table.add_column("blueprint")
    table.add_column("epoch", justify="right")
    table.add_column("why")
    for ending in endings:
        table.add_row(ending.site, ending.blueprint_id, str(ending.epoch), Text(ending.reason))
    return table


def facts_table(images: Images, outcome: Outcome) -> Table:
    """Return the run in a few rows."""
    summary = outcome.summary
    table = Table(show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_row("seeds germinated, kept, culled", f"{summary.germinated}, {len(summary.kept)}, {summary.culled}")
    if summary.HasField("score"):
        table.add_row(f"held-out accuracy ({len(images.held_out):,} images, used to decide)", f"{summary.score:.2%}")
    table.add_row(
        f"test accuracy, unwrapped ({len(images.test):,} images, used for nothing else)", f"{outcome.test_accuracy:.2%}"
    )
    table.add_row("parameters before and after", f"{summary.parameters_before:,} -> {summary.parameters_after:,}")
    table.add_row("part of the step time spent in Esper", f"{summary.overhead_ratio:.1%}")
    table.add_row("events written", f"{outcome.events_written:,}")
    return table


def next_commands(plan: Plan, run_id: str) -> list[tuple[str, str]]:
    """Return the commands to try next on this run, each with its purpose."""
    program, run, where = esper_program(), run_id[:12], place_options(plan)
    return [
        (f"{program} {command}{where}", purpose)
        for command, purpose in (
            (f"events {run}", "what happened, one sentence per event"),
            (f"events {run} --type SeedCulled", "which seeds were removed, and why"),
            (f"why {run} POSITION", "what led to the event at that position, with its numbers"),
            (f"replay {run} --verify", "check every hash, signature and gate verdict"),
            ('query "select * from seed_lifecycle"', "ask in SQL; query --list names the views"),
        )
    ]


def place_options(plan: Plan) -> str:
    """Return the options that name this run's log, where they are not the default."""
    folder = "" if plan.folder == Path(".esper") else f" --folder {shlex.quote(str(plan.folder))}"
    log = f" --log {plan.log}" if plan.log.startswith("nats://") else ""
    return folder + log


def esper_program() -> str:
    """Return what to type for `esper`: the bare name if the shell would find it, else its path."""
    if shutil.which("esper") is not None:
        return "esper"
    program = Path(sys.executable).with_name("esper")
    return str(program.relative_to(Path.cwd())) if program.is_relative_to(Path.cwd()) else str(program)
