"""The tables of the growth bench, from what is on record."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence

from bench.growing.campaign import MATCHED, MATCHED_CPU, TUNING, Row
from bench.growing.tasks import Task

GROWN = "grown"
ORDER = (GROWN, "static, starting size", MATCHED, MATCHED_CPU, "widened", "gromo TINY", "gromo GradMax")
SWEPT = "sweep, width "


def report(rows: Sequence[Row], tasks: Mapping[str, Task]) -> str:
    """Return a table for each task that has results, each with what follows from it."""
    parts: list[str] = []
    for task in tasks.values():
        mine = [row for row in rows if row.trial.task == task.name]
        if any(row.role == GROWN for row in mine):
            parts += [
                f"**{task.name}**: {_described(task, mine)}",
                _arms(task, mine),
                _verdict(task, mine),
                *_regret(task, mine),
            ]
    return "\n\n".join(parts)


def _described(task: Task, rows: Iterable[Row]) -> str:
    unit = "bits per character, smaller is better" if task.bits else "per cent of accuracy, larger is better"
    steps = f"{task.steps_per_epoch} steps each" if task.steps_per_epoch else "the whole training part each"
    tried = sorted({row.trial.rate for row in rows if row.role == TUNING})
    rates = f"rates tried {', '.join(f'{rate:g}' for rate in tried)}" if tried else "one rate for all, nothing tuned"
    return f"{task.epochs} epochs, {steps}, batches of {task.batch}; {rates}; {unit}."


def _arms(task: Task, rows: Iterable[Row]) -> str:
    lines = [
        "| arm | seeds | rate | test | parameters | CPU s | of it growth | compiler's CPU s |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for role in ORDER:
        found = [row for row in rows if row.role == role]
        if found:
            # A compiler that outlived its run is counted with the one after: all of them are growth's.
            seeds = {row.trial.seed for row in found}
            beside = [row for row in rows if role == GROWN and row.role != TUNING and row.trial.seed in seeds]
            compiler = sum(row.outcome.children_s for row in beside) / len(found)
            lines.append(f"| {role} | {_line(task, found)} | {f'{compiler:.1f}' if compiler else '-'} |")
    return "\n".join(lines)


def _line(task: Task, found: Sequence[Row]) -> str:
    outcomes = [row.outcome for row in found]
    sizes = [outcome.parameters for outcome in outcomes]
    seconds = statistics.mean(outcome.cpu_s for outcome in outcomes)
    growth = statistics.mean(outcome.growth_s for outcome in outcomes)
    share = f"{growth:.2f} ({growth / seconds:.0%})" if growth else "-"
    size = f"{statistics.median(sizes):,.0f}" + (f" ({min(sizes):,}-{max(sizes):,})" if len(set(sizes)) > 1 else "")
    rates = "/".join(sorted({f"{row.trial.rate:g}" for row in found}))
    test = _spread([outcome.test or math.nan for outcome in outcomes], 3 if task.bits else 2)
    return f"{len(found)} | {rates} | {test} | {size} | {seconds:.2f} | {share}"


def _spread(values: Sequence[float], digits: int = 2) -> str:
    """Return mean and standard error; the mean alone of a single value."""
    mean = f"{statistics.mean(values):.{digits}f}"
    if len(values) < 2:
        return mean
    return f"{mean} +- {statistics.stdev(values) / math.sqrt(len(values)):.{digits}f}"


def _verdict(task: Task, rows: Sequence[Row]) -> str:
    """Return differences to grown, seed by seed; positive where growing is better."""
    lines = [
        "| grown is better than | by (mean and standard error over seeds) | CPU seconds, grown / that |",
        "|---|---:|---:|",
    ]
    for role in ORDER[1:]:
        pairs = _pairs(rows, role)
        if pairs:
            sign = -1.0 if task.bits else 1.0
            gains = [sign * ((ours.outcome.test or 0.0) - (theirs.outcome.test or 0.0)) for ours, theirs in pairs]
            ratio = statistics.median(ours.outcome.cpu_s / theirs.outcome.cpu_s for ours, theirs in pairs)
            lines.append(f"| {role} | {_spread(gains, 3 if task.bits else 2)} | {ratio:.2f} |")
    return "\n".join(lines)


def _pairs(rows: Sequence[Row], role: str) -> list[tuple[Row, Row]]:
    grown = {row.trial.seed: row for row in rows if row.role == GROWN}
    return [(grown[row.trial.seed], row) for row in rows if row.role == role and row.trial.seed in grown]


def _regret(task: Task, rows: Sequence[Row]) -> list[str]:
    """Return what every arm lost against the static net that was best in hindsight, given as many CPU seconds."""
    swept = {
        width: [row for row in rows if row.role == f"{SWEPT}{width}"]
        for width in task.widths
        if any(row.role == f"{SWEPT}{width}" for row in rows)
    }
    if not swept:
        return []
    means = {width: statistics.mean(row.outcome.test or math.nan for row in found) for width, found in swept.items()}
    best = (min if task.bits else max)(means.values())
    sign = 1.0 if task.bits else -1.0
    seeds = {row.trial.seed for found in swept.values() for row in found}
    grown = statistics.mean(
        row.outcome.test or math.nan for row in rows if row.role == GROWN and row.trial.seed in seeds
    )
    spent = sum(
        row.outcome.cpu_s for row in rows if row.role == TUNING and row.trial.arm == "static" and row.trial.width
    )
    lines = [
        f"Regret against the best static width in hindsight ({len(seeds)} run each), each tuned and given the CPU "
        f"seconds that growing took; to find that width and its rate took {spent:.0f} CPU seconds more:",
        "",
        "| net | test | regret | epochs | CPU s |",
        "|---|---:|---:|---:|---:|",
        f"| grown | {grown:.3f} | {sign * (grown - best):+.3f} | {task.epochs} | |",
    ]
    for width, found in swept.items():
        seconds = statistics.mean(row.outcome.cpu_s for row in found)
        lines.append(
            f"| static, width {width} | {means[width]:.3f} | {sign * (means[width] - best):+.3f} | "
            f"{found[0].trial.epochs} | {seconds:.1f} |"
        )
    return ["\n".join(lines)]
