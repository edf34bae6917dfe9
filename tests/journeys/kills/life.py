"""A host's life in which its seeds come through every stage and the run goes back twice, as a training script.

python -m tests.journeys.kills.life HOST FOLDER RESULT [--resume RUN | --retrain RUN] [--count-lines]
    [--die ZONE,AFTER,COUNT]

RESULT is written in the end: digests of the weights and of everything else that training would go on from. With --die
the process kills itself with SIGKILL on its way there.
"""

import argparse
import math
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
import torch

import esper
from actors.rehearsal import Retrained
from esper.api.errors import NothingToResume, RunFinishedAlready
from esper.api.session import Session
from esper.kasmina.rules.gates import GateLimits
from esper.leyline.canonical import sha256_hex
from esper.tolaria.checkpoint import model_sha256
from esper.tolaria.encoding import encode
from esper.tolaria.random_state import random_state
from tests.journeys.kills.tripwire import STEP, Death, Tripwire
from tests.journeys.zoo.host import Host
from tests.journeys.zoo.life import Training, accept, measured
from tests.journeys.zoo.zoo import ZOO

STEPS, EPOCHS = 10, 13
# After these steps, the run goes back by hand, and meets a batch that is not a number.
BY_HAND, POISONED = 3 * STEPS + 5, 11 * STEPS + 4

# What becomes of a seed is of interest here, not its worth. Nothing may depend on how busy the machine is.
SETTINGS = esper.GrowthSettings(
    gates=GateLimits(
        min_training_epochs=1, min_shadow_probes=6, min_probation_epochs=1, max_score_drop=1e9, min_contribution=-1e9
    ),
    checkpoint_every_epochs=2,
    embargo_epochs=1,
    decision_wait_s=60.0,
    seed_time_allowance_s=60.0,
)
PROMISING = {"r_squared": 0.5, "predicted_loss_decrease": 0.1, "best_alpha": 1.0, "probe_gain": 0.1}


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What a process came to. `weights` to `scheduler` are digests; `stages` are those in each step it made.

    `lines` are those executed in each zone, from a step to the next, if they were counted.
    """

    run_id: str
    weights: str
    optimizer: str
    random: str
    scheduler: str
    score: float | None
    stages: dict[int, tuple[str, ...]]
    lines: dict[int, dict[str, int]]
    step_seconds: float
    retrained: Retrained | None

    @property
    def state(self) -> tuple[str, ...]:
        """What must be the same, to the last bit, whatever happened on the way."""
        return self.weights, self.optimizer, self.random, self.scheduler, repr(self.score)


class Life:
    """One process of a life."""

    def __init__(self, host: Host, death: Death | None) -> None:
        random.seed(3)
        np.random.seed(3)
        self.training, self.host = Training(host), host
        self.stages: dict[int, tuple[str, ...]] = {}
        self.tripwire = Tripwire(death)
        esper.wrap(self.training.model, sites=[host.kept.site, host.culled.site])

    def attach(self, folder: Path, resume: str | None, retrain: str | None) -> Session:
        """Begin, or go on with a run, if there is one to go on with."""
        training = self.training
        return esper.attach(
            training.model,
            training.optimizer,
            evaluate=training.evaluate,
            folder=folder,
            controller=None,
            settings=SETTINGS,
            resume=resume,
            retrain=retrain,
            stateful={"scheduler": training.scheduler},
            say=lambda _: None,
        )

    def live(self, session: Session) -> None:
        """Train to the end, and do at each step what is due."""

        def after_step(loss: torch.Tensor) -> None:
            session.step(loss)
            if session.global_step == BY_HAND:
                accept(session.rollback(reason="to see"))

        while session.epoch < EPOCHS:
            drive(session, self.host)
            self.training.epoch(after_step, steps=STEPS, weigh=lambda: self._weight(session))
            session.end_epoch()

    def _weight(self, session: Session) -> float:
        """Return what a step's loss is multiplied by; it is asked for between the forward and the backward pass."""
        self.stages[session.global_step] = tuple(session.stages.values())
        self.tripwire.before_step(session.global_step)
        return math.nan if session.global_step == POISONED else 1.0

    def result(self, session: Session) -> Result:
        """Return what training would go on from."""
        training, retraining = self.training, session._retraining
        return Result(
            run_id=session.run_id,
            weights=model_sha256(training.model),
            optimizer=sha256_hex(encode(training.optimizer.state_dict())),
            random=sha256_hex(encode(random_state())),
            scheduler=sha256_hex(encode(training.scheduler.state_dict())),
            score=session.summary.score if session.summary else None,
            stages=self.stages,
            lines={step: dict(counted) for step, counted in self.tripwire.counted.items()},
            step_seconds=session.facts.step_seconds,
            retrained=None if retraining is None else retraining.result,
        )


def drive(session: Session, host: Host) -> None:
    """Do by hand what is due at the beginning of an epoch; epochs go on when the run goes back."""
    kept, culled = session.slots[host.kept.label], session.slots[host.culled.label]

    def seen() -> Mapping[str, float]:
        return {**measured(session.facts, kept.seed_id), **PROMISING}

    match session.epoch:
        case 1:
            accept(kept.germinate(host.kept.blueprint_id))
            accept(culled.germinate(host.culled.blueprint_id))
        case 3 | 4:
            # For the second time because the run has gone back.
            accept(kept.blend(seen(), steps=12))
        case 6:
            accept(kept.shadow(seen()))
            accept(culled.cull("the journey asks for it"))
        case 8:
            accept(kept.fossilize(seen()))
        case 10:
            accept(culled.germinate(host.culled.blueprint_id))
        case _:
            return


def main(arguments: Sequence[str] | None = None) -> None:
    """Live the life of the host that the arguments name."""
    parser = argparse.ArgumentParser()
    parser.add_argument("host", choices=ZOO)
    parser.add_argument("folder", type=Path)
    parser.add_argument("result", type=Path)
    parser.add_argument("--resume")
    parser.add_argument("--retrain")
    parser.add_argument("--die", type=lambda text: Death(*(int(x) if x.isdecimal() else x for x in text.split(","))))
    parser.add_argument("--count-lines", action="store_true")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    life = Life(ZOO[chosen.host], chosen.die)
    if chosen.count_lines or (chosen.die and chosen.die.zone != STEP):
        life.tripwire.lay()
    try:
        opened = life.attach(chosen.folder, chosen.resume, chosen.retrain)
    except (NothingToResume, RunFinishedAlready):
        opened = life.attach(chosen.folder, None, None)
    with opened as session:
        life.live(session)
    chosen.result.write_bytes(msgspec.json.encode(life.result(session)))


if __name__ == "__main__":
    main()
