"""How long the training thread stands still when a model grows. Run: python -m bench.graft

Two tables. Surgery: what is done to the modules themselves, beside the same done with `peft` (a LoRA adapter put on one
layer, unloaded, merged), where peft can be imported. Commands: the whole way through a session on a running stack, that
is until the decision is on disk and the model has changed; and the steps at which a kernel is loaded.

"Whole" is all that the training thread spends, "stall" the same without what it waits for the log's acknowledgement
and for the forge, "CPU" the thread's own work. The control is arithmetic that changes nothing: what it takes at worst,
the machine takes.
"""

import argparse
import importlib.util
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import esper
from actors.place import Place
from actors.stack import down, up
from bench.measuring import insert, machine
from esper.api.session import Session
from esper.api.slots import Accepted, Outcome
from esper.api.wrap import survey_of, wrapped_sites
from esper.karn.builders import build
from esper.kasmina.rules.alpha import Ramp
from esper.kasmina.rules.gates import GateLimits
from esper.kasmina.slot import Slot
from esper.leyline.v1.enums_pb2 import ALPHA_CURVE_LINEAR, BLEND_MODE_RESIDUAL

BLOCKS, WIDTH, RANK = 25, 64, 8
LOW_RANK = "BP-PROJ-LoRA-64"
LOADS, AFTER = "the step at which its kernel is loaded", "the step after that"
SITES = [f"blocks.{index}" for index in range(BLOCKS)]

# The gates are not what is timed: the operator vouches for every number that they ask for.
LENIENT = esper.GrowthSettings(
    gates=GateLimits(min_training_epochs=0, min_probation_epochs=0, min_shadow_probes=0, max_live_seeds=100)
)
VOUCHED = {
    "epochs_in_stage": 9.0,
    "r_squared": 1.0,
    "predicted_loss_decrease": 1.0,
    "best_alpha": 1.0,
    "probe_gain": 1.0,
    "weights_moved": 1.0,
    "score_drop": 0.0,
    "contribution": 1.0,
}


class ResMLP(nn.Module):
    """A residual network of linear layers, each of them a place to grow."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(BLOCKS))
        self.head = nn.Linear(WIDTH, 10)

    def forward(self, batch: Tensor) -> Tensor:
        for block in self.blocks:
            batch = batch + F.gelu(block(batch))
        return self.head(batch)


class Taken(NamedTuple):
    """What one thing took, in milliseconds."""

    whole: float
    stall: float
    cpu: float


class Stalls:
    """What was timed, by what it was."""

    def __init__(self) -> None:
        self.taken = defaultdict[str, list[Taken]](list)

    @contextmanager
    def timed(self, what: str, session: Session | None = None) -> Generator[None]:
        """Note how long the block takes; what *session* waits in it is told apart."""
        waited = session.waited_s if session else 0.0
        cpu, began = time.thread_time(), time.perf_counter()
        yield
        whole, own = time.perf_counter() - began, time.thread_time() - cpu
        waiting = session.waited_s - waited if session else 0.0
        self.taken[what].append(Taken(whole * 1000, (whole - waiting) * 1000, own * 1000))

    def table(self) -> list[str]:
        """Return a row for each."""
        lines = [
            "| what | times | whole: median, p99 ms | stall: median ms | p99 ms | worst ms | CPU: median ms | p99 ms |",
            "|---|---:|---:|---:|---:|---:|---:|---:|",
        ]
        for what, found in self.taken.items():
            whole, stall, cpu = (_middle_and_p99(list(each)) for each in zip(*found, strict=True))
            worst = max(taken.stall for taken in found)
            lines.append(
                f"| {what} | {len(found)} | {whole[0]:.2f}, {whole[1]:.2f} | {stall[0]:.3f} | {stall[1]:.3f} "
                f"| {worst:.3f} | {cpu[0]:.3f} | {cpu[1]:.3f} |"
            )
        return lines


def _middle_and_p99(found: list[float]) -> tuple[float, float]:
    return statistics.median(found), statistics.quantiles(found, n=100, method="inclusive")[98]


def control(stalls: Stalls) -> None:
    """Time about half a millisecond of plain arithmetic."""
    with stalls.timed("control: arithmetic"):
        sum(number * number for number in range(6000))


def trained(model: nn.Module, optimizer: torch.optim.Optimizer) -> Tensor:
    """Make one ordinary step."""
    loss = F.cross_entropy(model(torch.randn(256, WIDTH)), torch.randint(10, (256,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


def surgery(stalls: Stalls, rounds: int) -> None:
    """Germinate at every site, move alpha, and cull one half and keep the other."""
    for _ in range(rounds):
        model = esper.wrap(ResMLP(), sites=SITES, probe=torch.randn(2, WIDTH))
        optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
        trained(model, optimizer)
        for index, site in enumerate(wrapped_sites(model)):
            slot = Slot(site, model)
            slot.shape = survey_of(model).shapes[site.seed_id]
            module = build(LOW_RANK, {"rank": float(RANK)}, slot.shape, 1)
            with stalls.timed("germination: plant a seed that is built"):
                slot.plant(module, mode=BLEND_MODE_RESIDUAL, learning_rate=lambda: 1e-3, init_seed=1)
            control(stalls)
            slot.step(1)
            with stalls.timed("alpha change: begin a ramp"):
                slot.begin_blending(Ramp(1, 0, 1.0, 1.0, ALPHA_CURVE_LINEAR))
            slot.begin_probation()
            if index % 2:
                with stalls.timed("cull"):
                    slot.remove()
            else:
                with stalls.timed("fossilize"):
                    slot.fossilize(optimizer)


def with_peft(stalls: Stalls, rounds: int) -> str:
    """Do the same with peft, one adapter at a time; return its version, or "" where it cannot be imported."""
    if importlib.util.find_spec("peft") is None:
        return ""
    peft: Any = importlib.import_module("peft")
    for _ in range(rounds):
        model: Any = ResMLP()
        for index in range(BLOCKS):
            config = peft.LoraConfig(r=RANK, target_modules=[f"blocks.{index}"])
            with stalls.timed("peft: get_peft_model"):
                grown = peft.get_peft_model(model, config)
            if index % 2:
                with stalls.timed("peft: unload"):
                    model = grown.unload()
            else:
                with stalls.timed("peft: merge_and_unload"):
                    model = grown.merge_and_unload()
    return str(peft.__version__)


def commands(stalls: Stalls, place: Place, rounds: int) -> None:
    """Do it through sessions: every change is a decision on disk before the model changes."""
    for _ in range(rounds):
        model = esper.wrap(ResMLP(), sites=SITES, probe=torch.randn(2, WIDTH))
        optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
        with esper.attach(
            model,
            optimizer,
            evaluate=lambda _: 0.0,
            folder=place.folder,
            controller=None,
            settings=LENIENT,
            say=lambda _: None,
        ) as session:
            one_life(stalls, session, lambda model=model, optimizer=optimizer: trained(model, optimizer))


def one_life(stalls: Stalls, session: Session, train: Callable[[], Tensor]) -> None:
    """Grow at every slot of the session, and cull one half and keep the other."""

    def step(what: str) -> None:
        with stalls.timed(what, session):
            session.step(train())

    step("the first step")
    for _ in range(BLOCKS):
        step("a step without a change")
    for slot in session.slots.values():
        with stalls.timed("germinate", session):
            accept(slot.germinate(LOW_RANK, rank=RANK))
        step(LOADS)
        step(AFTER)
    step("a step with 25 seeds in training")
    for slot in session.slots.values():
        with stalls.timed("blend", session):
            accept(slot.blend(slot.measured() | VOUCHED, steps=1))
    for _ in range(2):
        step("a step with 25 seeds blended")
    # What the last gates ask for is measured at an epoch's end.
    session.end_epoch()
    for index, slot in enumerate(session.slots.values()):
        if index % 2:
            with stalls.timed("cull", session):
                accept(slot.cull())
        else:
            accept(slot.shadow(slot.measured() | VOUCHED))
    for _ in range(4):
        session.step(train())
    for index, slot in enumerate(session.slots.values()):
        if index % 2 == 0:
            with stalls.timed("fossilize", session):
                accept(slot.fossilize(slot.measured() | VOUCHED))


def loading(stalls: Stalls) -> list[str]:
    """Say how much longer a step is at which a kernel is loaded than the step after it, with the same seeds."""
    loads, afters = stalls.taken[LOADS], stalls.taken[AFTER]
    lines: list[str] = []
    for name in Taken._fields:
        ratios = [getattr(one, name) / getattr(other, name) for one, other in zip(loads, afters, strict=True)]
        middle, p99 = _middle_and_p99(ratios)
        lines.append(
            f"- a step that loads a kernel / the step after it, {name}: median {middle:.2f}, p99 {p99:.2f}, "
            f"worst {max(ratios):.2f}"
        )
    return lines


def accept(outcome: Outcome) -> None:
    """Stop if a command was refused: what follows would time something else."""
    if not isinstance(outcome, Accepted):
        raise SystemExit(f"refused: {outcome}")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=16, help=f"each is {BLOCKS} germinations")
    parser.add_argument("--markdown", default="", metavar="PAGE", help="also put the report into this Markdown page")
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines = [f"- {name}: {what}" for name, what in machine().items()]
    hands, peers, whole = Stalls(), Stalls(), Stalls()
    surgery(hands, options.rounds)
    version = with_peft(peers, options.rounds)
    lines += ["", *hands.table(), *peers.table()[2:], ""]
    lines.append(f"- peft {version}" if version else "- peft cannot be imported here: not measured")
    with tempfile.TemporaryDirectory() as folder:
        place = Place.at(Path(folder))
        up(place)
        try:
            commands(Stalls(), place, 1)
            commands(whole, place, options.rounds)
        finally:
            down(place)
    lines += ["", *whole.table(), "", *loading(whole)]
    sys.stdout.write("\n".join(lines) + "\n")
    if options.markdown:
        insert("\n".join(lines), "graft", Path(options.markdown))


if __name__ == "__main__":
    main()
