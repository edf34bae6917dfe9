"""Which runs there are, in which order; each is written down as soon as it is done."""

import statistics
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from bench.growing import peer
from bench.growing.arms import Outcome, Trial, fitting_width, run
from bench.growing.data import Data
from bench.growing.tasks import Task

TUNING_SEED = 100
TUNING = "tuning"
MATCHED, MATCHED_CPU = "static, final size", "static, final size and CPU"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One run that was done. *role* is what it was for: "tuning", or the name of a line in the tables."""

    role: str
    trial: Trial
    outcome: Outcome
    load: float = 0.0


class Ledger:
    """The rows of a file of JSON lines, to which each new one is added at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        lines = path.read_bytes().splitlines() if path.exists() else []
        self.rows = [msgspec.json.decode(line, type=Row) for line in lines]

    def add(self, row: Row) -> None:
        """Write *row* down."""
        self.rows.append(row)
        with self._path.open("ab") as file:
            file.write(msgspec.json.encode(row) + b"\n")

    def find(self, role: str, trial: Trial) -> Row | None:
        """Return the row of *trial* in *role*, if it was run already."""
        return next((row for row in self.rows if (row.role, row.trial) == (role, trial)), None)

    def of(self, task: str, role: str) -> list[Row]:
        """Return the rows of *role* on *task*."""
        return [row for row in self.rows if (row.trial.task, row.role) == (task, role)]


Runner = Callable[[str, Trial], Outcome]


class Campaign:
    """All runs of one task. Those that the ledger holds are not run again."""

    def __init__(self, task: Task, data: Data, ledger: Ledger, folder: Path, python: str, say: Callable[[str], None]):
        self.task, self._data, self._ledger = task, data, ledger
        self._folder, self._say = folder, say
        self._python = python

    def compare(self, seeds: Iterable[int]) -> None:
        """Tune each arm's learning rate, then run all arms for each seed, one after the other."""
        task = self.task
        arms = ["static", *(arm for arm in task.others if self._python or arm not in peer.ARMS)]
        rates = {arm: self._tuned(arm, 0) for arm in ("grown", *arms)}
        at_best = self._ledger.find(TUNING, self._trial("grown", rates["grown"], TUNING_SEED))
        final_width = 0 if at_best is None else fitting_width(task, at_best.outcome.parameters)
        matched_rate = self._tuned("static", final_width)
        for seed in seeds:
            grown = self._run("grown", self._trial("grown", rates["grown"], seed, tested=True))
            for arm in arms:
                role = "static, starting size" if arm == "static" else arm
                self._run(role, self._trial(arm, rates[arm], seed, tested=True))
            width = fitting_width(task, grown.parameters)
            trial = self._trial("static", matched_rate, seed, width=width, tested=True)
            matched = self._run(MATCHED, trial)
            longer = max(task.epochs, round(task.epochs * grown.cpu_s / matched.cpu_s))
            self._run(MATCHED_CPU, msgspec.structs.replace(trial, epochs=longer))

    def sweep(self, seeds: Iterable[int]) -> None:
        """Give static nets of several sizes, each tuned, the CPU seconds that growing took."""
        budget = statistics.median(row.outcome.cpu_s for row in self._ledger.of(self.task.name, "grown"))
        chosen = {width: self._tuned("static", width) for width in self.task.widths}
        for seed in seeds:
            for width, rate in chosen.items():
                tuned = self._ledger.find(TUNING, self._trial("static", rate, TUNING_SEED, width=width))
                epochs = max(1, round(self.task.epochs * budget / tuned.outcome.cpu_s))
                role = f"sweep, width {width}"
                if not any(row.trial.seed == seed for row in self._ledger.of(self.task.name, role)):
                    trial = self._trial("static", rate, seed, width=width, tested=True)
                    self._run(role, msgspec.structs.replace(trial, epochs=epochs))

    def _tuned(self, arm: str, width: int) -> float:
        if len(self.task.rates) == 1:
            return self.task.rates[0]
        found = {
            rate: self._run(TUNING, self._trial(arm, rate, TUNING_SEED, width=width)).valid for rate in self.task.rates
        }
        return (min if self.task.bits else max)(found, key=lambda rate: found[rate])

    def _trial(self, arm: str, rate: float, seed: int, *, width: int = 0, tested: bool = False) -> Trial:
        return Trial(
            task=self.task.name, arm=arm, rate=rate, seed=seed, epochs=self.task.epochs, width=width, tested=tested
        )

    def _run(self, role: str, trial: Trial) -> Outcome:
        done = self._ledger.find(role, trial)
        if done is not None:
            return done.outcome
        if trial.arm in peer.ARMS:
            outcome = peer.run(self._python, self.task, self._data, trial)
        else:
            outcome = run(self.task, self._data, trial, self._folder)
        self._ledger.add(Row(role=role, trial=trial, outcome=outcome))
        self._say(
            f"{trial.task:9} {role:27} width {trial.width:3} rate {trial.rate:<6g} seed {trial.seed:3}: "
            f"valid {outcome.valid:.3f} test {outcome.test} parameters {outcome.parameters:,} "
            f"CPU {outcome.cpu_s:.2f} (growth {outcome.growth_s:.2f}, forge {outcome.children_s:.2f}) "
            f"kept {outcome.kept}/{outcome.germinated}"
        )
        return outcome
