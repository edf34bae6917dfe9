"""One host's life as a training script: it is trained, one seed is kept, another culled, and the result is baked.

python -m tests.journeys.zoo.life HOST FOLDER RESULTS [--kill-at STEP | --resume]

With --kill-at the process kills itself with SIGKILL after that optimizer step; nothing of it is left to tidy up.
"""

import argparse
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.fx import GraphModule

import esper
from esper.api.errors import BakeRefused
from esper.api.session import Session
from esper.api.slots import Accepted, Outcome
from esper.kasmina.errors import UnwrapRefused
from esper.kasmina.rules.gates import GateLimits
from esper.leyline.v1.run_pb2 import EpochFacts
from esper.tolaria.checkpoint import model_sha256
from tests.journeys.zoo.host import Batch, Host
from tests.journeys.zoo.zoo import ZOO

STEPS_PER_EPOCH = 25
BATCH = 32
# Epochs that have ended when something is done; `drive` has the others.
GERMINATE, BLEND, LAST = 4, 7, 12
HELD_OUT = 300
SHOWN = 16

# The journey is about what becomes of a seed, not about its worth: a short probation, and any measured worth will do.
SETTINGS = esper.GrowthSettings(
    gates=GateLimits(min_probation_epochs=1, max_score_drop=10.0, min_contribution=-10.0),
    checkpoint_every_epochs=2,
    embargo_epochs=1,
)


class Training:
    """A user's own model, optimizer, scheduler and loop; nothing in here is Esper's."""

    def __init__(self, host: Host) -> None:
        self.host = host
        torch.manual_seed(3)
        self.model = host.build()
        self.runs = self.model
        self.optimizer = torch.optim.AdamW(self.model.parameters(), host.learning_rate)
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda step: 1 / (1 + step / 500))
        self.losses: list[Tensor] = []
        inputs, targets = host.data()
        self.train = Batch(tuple(each[:-HELD_OUT] for each in inputs), targets[:-HELD_OUT])
        self.held_out = Batch(tuple(each[-HELD_OUT:] for each in inputs), targets[-HELD_OUT:])

    def compile(self) -> None:
        """Let torch compile the model, if the host's author does; after `wrap`."""
        if self.host.compiled:
            self.runs = cast(nn.Module, torch.compile(self.model))

    def epoch(
        self,
        after_step: Callable[[Tensor], None],
        *,
        steps: int = STEPS_PER_EPOCH,
        weigh: Callable[[], float] = lambda: 1.0,
    ) -> None:
        """Train some batches in an order drawn from torch's global generator; *weigh* tells each loss's weight."""
        self.model.train()
        order = torch.randperm(len(self.train.targets)).split(BATCH)
        for step in range(steps):
            rows = order[step % len(order)]
            loss = self.host.loss(self.runs(*(each[rows] for each in self.train.inputs)), self.train.targets[rows])
            loss = loss * weigh()
            self.optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            self.scheduler.step()
            self.losses.append(loss.detach())
            after_step(loss)

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Return the held-out loss, and as the score the same with its sign turned."""
        model.eval()
        with torch.no_grad():
            loss = float(self.host.loss(model(*self.held_out.inputs), self.held_out.targets))
        return {"score": -loss, "loss": loss}

    def shown(self) -> tuple[Tensor, ...]:
        """Return a few samples that training has not seen."""
        return tuple(each[:SHOWN] for each in self.held_out.inputs)

    def state(self) -> dict[str, Tensor]:
        """Return a copy of everything that a careless graft would change."""
        found = {f"weights.{name}": value.clone() for name, value in self.model.state_dict().items()}
        gradients = {name: own.grad for name, own in self.model.named_parameters() if own.grad is not None}
        found |= {f"gradient.{name}": value.clone() for name, value in gradients.items()}
        return found | {"losses": torch.stack(self.losses), "random": torch.random.get_rng_state()}


Watch = Callable[[Session, Training], None]


def nothing(_: Session, __: Training) -> None:
    """Watch a run without a comment."""


def grow(
    training: Training, folder: Path, *, resume: str | None = None, kill_at: int = 0, watch: Watch = nothing
) -> Session:
    """Run the host's whole life, or the rest of it; *watch* sees it at the beginning of every epoch."""
    host, model = training.host, training.model
    esper.wrap(model, sites=[host.kept.site, host.culled.site], compiled=host.compiled)
    training.compile()
    with esper.attach(
        training.runs,
        training.optimizer,
        evaluate=training.evaluate,
        folder=folder,
        controller=None,
        settings=SETTINGS,
        resume=resume,
        stateful={"scheduler": training.scheduler},
        say=lambda _: None,
    ) as session:

        def after_step(loss: Tensor) -> None:
            session.step(loss)
            if session.global_step == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

        while session.epoch < LAST:
            watch(session, training)
            drive(session, host)
            training.epoch(after_step)
            session.end_epoch()
        watch(session, training)
    return session


def drive(session: Session, host: Host) -> None:
    """Do by hand what is due at the beginning of an epoch, on nothing but what the epochs before have measured."""
    kept, culled = session.slots[host.kept.label], session.slots[host.culled.label]
    match session.epoch:
        case epoch if epoch == GERMINATE:
            accept(kept.germinate(host.kept.blueprint_id))
            accept(culled.germinate(host.culled.blueprint_id))
        case epoch if epoch == BLEND:
            accept(kept.blend(measured(session.facts, kept.seed_id), steps=15))
        case 8:
            accept(kept.shadow(measured(session.facts, kept.seed_id)))
        case 9:
            accept(culled.cull("the journey asks for it"))
        case 10:
            accept(kept.fossilize(measured(session.facts, kept.seed_id)))
        case _:
            return


def measured(facts: EpochFacts, seed_id: str) -> Mapping[str, float]:
    """Return what the last epoch has measured of a seed."""
    return next(seen.measured for seen in facts.seeds if seen.seed_id == seed_id)


def accept(outcome: Outcome) -> None:
    """Go on only if the command was recorded and its gate passed."""
    if not isinstance(outcome, Accepted):
        raise SystemExit(f"not accepted: {outcome}")


def finish(training: Training, results: Path) -> None:
    """Unwrap and bake the grown model; write what it computes before and after, and what was refused, if anything.

    Where something is refused, the host's author does what there is to do instead, and the rest is as for all.
    """
    model, shown = training.model.eval(), training.shown()
    (results / "weights").write_text(model_sha256(model))
    with torch.no_grad():
        said = named("grown", model(*shown))
        plain = unwrapped(training, results)
        save_file(said | named("plain", plain(*shown)), results / "outputs.safetensors")
    try:
        esper.bake(plain, results / "baked")
    except BakeRefused as refused:
        (results / "refused").write_text(f"{type(refused).__name__}: {refused}")
        torch.save(plain, results / "plain.pt")


def unwrapped(training: Training, results: Path) -> GraphModule:
    """Unwrap the model, if need be after its author has made that possible."""
    try:
        return esper.unwrap(training.model)
    except UnwrapRefused as refused:
        (results / "refused").write_text(f"{type(refused).__name__}: {refused}")
        if training.host.instead is None:
            raise
    training.host.instead(training.model)
    return esper.unwrap(training.model)


def named(kind: str, output: Any) -> dict[str, Tensor]:
    """Return the tensors of what a model returns, under names that begin with *kind*."""
    found = {"output": output} if isinstance(output, Tensor) else vars(output)
    return {f"{kind}.{name}": value.detach().clone() for name, value in found.items()}


def main() -> None:
    """Live the life of the host that the arguments name."""
    parser = argparse.ArgumentParser()
    parser.add_argument("host", choices=ZOO)
    parser.add_argument("folder", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("--kill-at", type=int, default=0)
    parser.add_argument("--resume", action="store_true")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    training = Training(ZOO[chosen.host])
    grow(training, chosen.folder, resume="latest" if chosen.resume else None, kill_at=chosen.kill_at)
    finish(training, chosen.results)


if __name__ == "__main__":
    main()
