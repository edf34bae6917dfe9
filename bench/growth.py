"""Is growing worth it? Esper beside static nets, a simple widening and gromo. Run: python -m bench.growth

Four tasks with real data. Every arm has the same data in the same order, AdamW and one cosine schedule; its learning
rate is chosen from the same grid by the validation part, with one random seed of its own; test data are looked at once,
after the last epoch. Every finished run is a line of --results: an interrupted bench goes on where it was. --report
renders the tables from that file. gromo needs a Python of its own, because it brings packages that Esper does not use:

    python -m venv gromo && gromo/bin/pip install torch==2.13.0 numpy networkx deprecated lightning-utilities packaging
    gromo/bin/pip install --no-deps torchmetrics gromo==0.1.0
    python -m bench.growth --gromo gromo/bin/python
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

import msgspec
import torch

from bench.growing import peer
from bench.growing.campaign import Campaign, Ledger
from bench.growing.data import LETTERS
from bench.growing.report import report
from bench.growing.tasks import tasks
from bench.measuring import insert, machine


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tasks", default="letters,fashion,digits,scripture")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--sweep-seeds", type=int, default=3, help="seeds of the table of regret; 0 leaves it out")
    parser.add_argument("--rate", type=float, help="one learning rate for all arms: nothing is tuned then")
    parser.add_argument("--results", type=Path, default=Path("growth.jsonl"))
    parser.add_argument(
        "--letters", type=Path, default=LETTERS, help="LetterRecognition.rda of Debian's r-cran-mlbench"
    )
    parser.add_argument("--gromo", default="", metavar="PYTHON", help="a Python with gromo; without, it is left out")
    parser.add_argument("--report", action="store_true", help="run nothing: render what the results hold")
    parser.add_argument("--markdown", type=Path, help="also put the tables into this page")
    options = parser.parse_args()
    torch.set_num_threads(1)
    ledger = Ledger(options.results)
    if not options.report:
        _run(options, ledger)
    text = report(ledger.rows, tasks(options.letters))
    sys.stdout.write(text + "\n")
    if options.markdown:
        insert(text, "growth", options.markdown)


def _run(options: argparse.Namespace, ledger: Ledger) -> None:
    if options.gromo and not peer.runs(options.gromo):
        raise SystemExit(f"{options.gromo} cannot import gromo: see the head of this file")
    if not options.gromo:
        _say("gromo is left out: no --gromo PYTHON was given")
    for what, value in machine().items():
        _say(f"{what}: {value}")
    chosen = [tasks(options.letters)[name] for name in options.tasks.split(",")]
    if options.rate:
        chosen = [msgspec.structs.replace(task, rates=(options.rate,)) for task in chosen]
    with tempfile.TemporaryDirectory(prefix="esper-growth-", ignore_cleanup_errors=True) as folder:
        loaded = [Campaign(task, task.load(), ledger, Path(folder), options.gromo, _say) for task in chosen]
        for campaign in loaded:
            campaign.compare(range(options.seeds))
        for campaign in loaded if options.sweep_seeds else ():
            campaign.sweep(range(options.sweep_seeds))


def _say(line: str) -> None:
    sys.stdout.write(f"{line} [load {os.getloadavg()[0]:.1f}]\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
