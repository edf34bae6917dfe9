"""Growth under the Trainer of PyTorch Lightning; needs the extra `lightning`.

trainer = Trainer(callbacks=[Growth(evaluate=accuracy)], max_epochs=20)       # to go on: resume="latest"
trainer.fit(esper.wrap(module, sites=...), loader)
"""

from collections.abc import Mapping
from typing import Any, Unpack, cast

from torch import Tensor

from esper.api.callbacks.errors import TrainerRefused
from esper.api.callbacks.passenger import Passenger, Terms
from esper.api.errors import PackageMissing
from esper.api.evaluation import Evaluate
from esper.api.session import Session
from esper.tolaria.checkpoint import Stateful

try:
    from pytorch_lightning import Callback, LightningModule, Trainer
except ImportError as missing:
    raise PackageMissing(missing.name or "pytorch_lightning", extra="lightning") from missing

NAME = "the Lightning Trainer"
PROGRESS = "trainer"
LOSS = "let training_step return its loss, or a dictionary with it under 'loss'"
ANEW = "give the callback resume=... and fit without ckpt_path"


class Growth(Callback):
    """Lets a LightningModule grow, which is wrapped before. *evaluate* and *terms* are those of `esper.attach`.

    With the run are saved the optimizer, its schedulers and the Trainer's counters, and put back when it is resumed:
    from the run, not from a checkpoint of Lightning's, whose network has not grown yet when it is loaded.
    """

    def __init__(self, *, evaluate: Evaluate, **terms: Unpack[Terms]) -> None:
        self._ride = Passenger(NAME, evaluate, terms)
        self._steps = 0

    @property
    def session(self) -> Session | None:
        """The session while the Trainer trains; None before and after."""
        return self._ride.session

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin the run, or go on with it."""
        _refuse(trainer, pl_module)
        kept: dict[str, Stateful] = {PROGRESS: _Progress(trainer)}
        for index, config in enumerate(trainer.lr_scheduler_configs):
            kept[f"lr_scheduler_{index}"] = config.scheduler
        self._ride.begin(pl_module, trainer.optimizers[0], kept)
        self._ride.demand_step(trainer.global_step, ANEW)
        self._steps = trainer.global_step

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End the epoch before, with validation, schedulers and other callbacks behind it."""
        self._ride.end_epoch()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note the batch's part of the loss, and follow the optimizer if it has stepped."""
        loss = _loss(outputs)
        if loss is not None:
            self._ride.part(loss)
        if trainer.global_step != self._steps:
            self._steps = trainer.global_step
            self._ride.step(LOSS)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End the last epoch and the run."""
        self._ride.end()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leave a run whose training has failed; it can be resumed."""
        self._ride.interrupt(exception)


class _Progress:
    """How far the Trainer's loops are, as they are when an epoch begins."""

    def __init__(self, trainer: Trainer) -> None:
        loop = trainer.fit_loop
        steps = loop.epoch_loop
        self._epochs, self._batches = loop.epoch_progress, steps.batch_progress
        self._parts = {
            "batches": steps.batch_progress,
            "optimization": steps.automatic_optimization.optim_progress,
            "schedulers": steps.scheduler_progress,
        }
        self._steps = steps

    def state_dict(self) -> Mapping[str, Any]:
        # An epoch that is about to begin is "ready" already; it will be again when the run goes on.
        epochs = {scope: {**state, "ready": state["completed"]} for scope, state in self._epochs.state_dict().items()}
        parts = {name: part.state_dict() for name, part in self._parts.items()}
        return {"epochs": epochs, **parts, "stepped": self._steps._batches_that_stepped}

    def load_state_dict(self, state_dict: Mapping[str, Any], /) -> None:
        self._epochs.load_state_dict(state_dict["epochs"])
        for name, part in self._parts.items():
            part.load_state_dict(state_dict[name])
        self._steps._batches_that_stepped = state_dict["stepped"]


def _loss(outputs: object) -> Tensor | None:
    found: object = outputs
    if isinstance(outputs, Mapping):
        found = cast("Mapping[str, object]", outputs).get("loss")
    return found if isinstance(found, Tensor) else None


def _refuse(trainer: Trainer, module: LightningModule) -> None:
    """Refuse what a growing model cannot take part in.

    Raises:
        TrainerRefused: names it, and what to do.
    """
    reasons = {
        "several processes or devices": (
            trainer.world_size > 1 or trainer.num_devices > 1,
            "devices=1, or DistributedDataParallel in a loop of your own",
        ),
        "manual optimization": (not module.automatic_optimization, "esper.attach in a loop of your own"),
        "several optimizers": (len(trainer.optimizers) != 1, "let configure_optimizers return one"),
        "16-bit precision and a scaler": (trainer.precision == "16-mixed", 'precision="bf16-mixed" needs none'),
        "a checkpoint of Lightning's": (trainer.ckpt_path is not None, ANEW),
    }
    for what, (found, cure) in reasons.items():
        if found:
            raise TrainerRefused(NAME, what, cure)
