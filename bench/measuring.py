"""Measuring contestants side by side in one run: interleaved rounds, medians, wall and whole-process CPU time."""

import argparse
import importlib.metadata
import os
import platform
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TypeAlias

import msgspec

from eventstore.oona.binary import find, version

Contestant: TypeAlias = Callable[[], Awaitable[int]]
"""Does its work once and returns how many pieces it did."""

LIBRARIES = ("nats-py", "duckdb", "protobuf", "msgspec", "pyarrow")


class Speed(msgspec.Struct, frozen=True, kw_only=True):
    """What one contestant did per second of wall time, and the CPU time of this process for each piece."""

    per_s: float
    cpu_us: float


class Ratio(msgspec.Struct, frozen=True, kw_only=True):
    """Our speed over a peer's in the same round: the median round, the worst and the best."""

    ours: str
    peer: str
    wanted: float
    median: float
    worst: float
    best: float

    @property
    def holds(self) -> bool:
        """Whether the median reaches what is wanted."""
        return self.median >= self.wanted


class Report(msgspec.Struct, kw_only=True):
    """Everything that one run of a bench found."""

    machine: dict[str, str]
    speeds: dict[str, Speed] = {}
    ratios: list[Ratio] = []
    remarks: dict[str, object] = {}

    def table(self) -> str:
        """Return the report as Markdown."""
        parts = ["\n".join(f"- {name}: {what}" for name, what in self.machine.items())]
        if self.speeds:
            lines = ["| what | per second | CPU us each |", "|---|---:|---:|"]
            lines += [f"| {name} | {s.per_s:,.0f} | {s.cpu_us:.1f} |" for name, s in self.speeds.items()]
            parts.append("\n".join(lines))
        if self.ratios:
            lines = ["| ratio | wanted | median | worst | best | holds |", "|---|---:|---:|---:|---:|---|"]
            lines += [
                f"| {r.ours} / {r.peer} | {r.wanted:g} | {r.median:.2f} | {r.worst:.2f} | {r.best:.2f} | "
                f"{'yes' if r.holds else 'no'} |"
                for r in self.ratios
            ]
            parts.append("\n".join(lines))
        parts.append("\n".join(f"- {name}: {what}" for name, what in self.remarks.items()))
        return "\n\n".join(part for part in parts if part)


def machine() -> dict[str, str]:
    """Return what the numbers of this run depend on."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    server = ".".join(map(str, version(find(os.environ))))
    libraries = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES)
    return {
        "machine": f"{len(models)} x {models[0].partition(': ')[2]}, {platform.system()} {platform.release()}",
        "load": "load average {:.1f} {:.1f} {:.1f} at the start".format(*os.getloadavg()),
        "versions": f"Python {platform.python_version()}, nats-server {server}, {libraries}",
    }


async def compete(
    report: Report, contestants: Mapping[str, Contestant], ratios: list[tuple[str, str, float]], *, rounds: int
) -> None:
    """Run every contestant once per round, each round starting with the next one, and add medians to *report*."""
    names, found = list(contestants), {name: list[Speed]() for name in contestants}
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            found[name].append(await _measured(contestants[name]))
    for name, speeds in found.items():
        report.speeds[name] = Speed(
            per_s=statistics.median(speed.per_s for speed in speeds),
            cpu_us=statistics.median(speed.cpu_us for speed in speeds),
        )
    for ours, peer, wanted in ratios:
        each = [mine.per_s / theirs.per_s for mine, theirs in zip(found[ours], found[peer], strict=True)]
        report.ratios.append(
            Ratio(ours=ours, peer=peer, wanted=wanted, median=statistics.median(each), worst=min(each), best=max(each))
        )


async def _measured(contestant: Contestant) -> Speed:
    cpu, wall = time.process_time(), time.perf_counter()
    many = await contestant()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Speed(per_s=many / wall, cpu_us=cpu / many * 1e6)


def add_outputs(parser: argparse.ArgumentParser) -> None:
    """Add the options that `publish` heeds."""
    parser.add_argument("--json", default="", help="also write the report to this file")
    parser.add_argument("--markdown", default="", metavar="PAGE", help="also put the report into this Markdown page")


def publish(report: Report, bench: str, options: argparse.Namespace) -> None:
    """Print *report*, which is that of *bench*, and write it where *options* say."""
    sys.stdout.write(report.table() + "\n")
    if options.json:
        Path(options.json).write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    if options.markdown:
        insert(report.table(), bench, Path(options.markdown))


def insert(text: str, bench: str, page: Path) -> None:
    """Put *text* into *page* in place of what stands between the marks of *bench*.

    Raises:
        ValueError: the page has no such marks.
    """
    begin, end = f"<!-- {bench}: begin -->\n", f"<!-- {bench}: end -->"
    before, found, rest = page.read_text(encoding="utf-8").partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"{page} has no {begin.strip()} and {end}")
    page.write_text(f"{before}{begin}\n{text}\n\n{end}{after}", encoding="utf-8")
