"""Growth under the Trainer of Hugging Face's transformers; needs the extra `hf`.

growth = Growth(evaluate=accuracy)                                     # to go on: resume="latest"
trainer = Trainer(model=esper.wrap(model, sites=...), args=args, callbacks=[growth], ...)
trainer.train(resume_from_checkpoint=growth.checkpoint())
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Unpack, cast

from safetensors.torch import save
from torch import Tensor, nn
from torch.optim import Optimizer

from actors.place import Place
from esper.api.attach import find_run
from esper.api.callbacks.errors import TrainerRefused
from esper.api.callbacks.passenger import Passenger, Terms
from esper.api.errors import PackageMissing
from esper.api.evaluation import Evaluate
from esper.api.logs import EMBEDDED, open_named
from esper.api.session import Session
from esper.kasmina.planted import SUBMODULE
from esper.leyline.v1.run_pb2 import Checkpoint
from esper.tolaria.checkpoint import Stateful, read
from esper.tolaria.rules.run import RUN

try:
    from accelerate.optimizer import AcceleratedOptimizer
    from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
except ImportError as missing:
    raise PackageMissing(missing.name or "transformers", extra="hf") from missing

LOG_WAIT_S = 60.0
NAME = "the Trainer"
COUNTERS, SCHEDULER = "trainer", "lr_scheduler"
RESUME = "call trainer.train(resume_from_checkpoint=growth.checkpoint()), which is None for a run that begins"
LABELS = "let the model return its loss (give it labels; no compute_loss_func, no label smoothing)"


class Growth(TrainerCallback):
    """Lets the Trainer's model grow, which is wrapped before. *evaluate* and *terms* are those of `esper.attach`.

    The model returns its loss; of an accumulated step, each pass counts by the weight that the Trainer gives it. With
    the run are saved the optimizer, its scheduler and the Trainer's counters; `checkpoint` puts them back.
    """

    def __init__(self, *, evaluate: Evaluate, **terms: Unpack[Terms]) -> None:
        self._ride = Passenger(NAME, evaluate, terms)
        self._hook: Any = None

    @property
    def session(self) -> Session | None:
        """The session while the Trainer trains; None before and after."""
        return self._ride.session

    def checkpoint(self) -> str | None:
        """Write the newest checkpoint of the run to resume as the Trainer reads one, and return its folder.

        The Trainer takes its counters and the host's weights from it; everything else comes from the run itself. None
        if no run is to be resumed, or it has no epoch behind it.

        Raises:
            NothingToResume: there is no such run.
            CheckpointBroken, BlobMissing, BlobCorrupt: a part is damaged.
            StackNotReady, StoreUnavailable: the log cannot be reached.
        """
        resume = self._ride.terms.get("resume")
        if resume is None:
            return None
        place = Place.at(Path(self._ride.terms.get("folder", ".esper")))
        opened = open_named(self._ride.terms.get("log", EMBEDDED), place)
        try:
            begun = opened.loop.call(find_run(opened.log.store, resume), LOG_WAIT_S)
            newest = RUN.fold(cast(Any, recorded.event) for recorded in begun).last_checkpoint
            if newest is None or not newest.at.step:
                return None
            parts = read(newest.manifest_sha256, (opened.blobs or place.blobs).get)
        finally:
            opened.close()
        return str(_written(place.folder / "hugging_face" / begun[0].stream.aggregate_id, newest, parts))

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Begin the run, or go on with it."""
        optimizer = kwargs["optimizer"]
        _refuse(args, optimizer)
        if isinstance(optimizer, AcceleratedOptimizer):
            optimizer = optimizer.optimizer
        model: nn.Module = kwargs["model"]
        kept: dict[str, Stateful] = {COUNTERS: _Counters(state), SCHEDULER: kwargs["lr_scheduler"]}
        self._ride.begin(model, cast("Optimizer", optimizer), kept)
        self._ride.demand_step(state.global_step, RESUME)
        self._watch(model)

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """End the epoch before, with the Trainer's own evaluation and checkpoint behind it."""
        self._ride.end_epoch()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Follow one optimizer step."""
        self._ride.step(LABELS)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """End the last epoch and the run."""
        self._watch(None)
        self._ride.end()

    def close(self) -> None:
        """Leave a run whose training has failed; the Trainer tells no callback of that. The run can be resumed."""
        self._watch(None)
        self._ride.interrupt(None)

    def _watch(self, model: nn.Module | None) -> None:
        """See the losses that *model* returns; None: no longer."""
        if self._hook is not None:
            self._hook.remove()
        self._hook = None if model is None else model.register_forward_hook(self._returned)

    def _returned(self, module: nn.Module, args: object, output: object) -> None:
        loss = _loss(output)
        if loss is None or not loss.requires_grad:
            return

        # Detached outside: a hook that holds its own tensor keeps the pass's whole graph for ever.
        value = loss.detach()

        def weigh(weight: Tensor) -> None:
            # What it is multiplied by on its way into the step's loss is the gradient that comes back.
            self._ride.part(value * weight.detach())

        loss.register_hook(weigh)


class _Counters:
    """The Trainer's own state: how far it is. It reads it itself, from the folder that `Growth.checkpoint` wrote."""

    def __init__(self, state: TrainerState) -> None:
        self._state = state

    def state_dict(self) -> Mapping[str, str]:
        return {"json": json.dumps(dataclasses.asdict(self._state), sort_keys=True)}

    def load_state_dict(self, state_dict: Mapping[str, str], /) -> None:
        """Do nothing: the loop's counters cannot be set from inside it."""


def _loss(output: object) -> Tensor | None:
    found: object = None
    if isinstance(output, Mapping):
        found = cast("Mapping[str, object]", output).get("loss")
    elif isinstance(output, tuple) and output:
        found = cast("tuple[object, ...]", output)[0]
    return found if isinstance(found, Tensor) and found.ndim == 0 else None


def _written(folder: Path, checkpoint: Checkpoint, parts: Mapping[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    host = {name: tensor for name, tensor in parts["model"].items() if f".{SUBMODULE}" not in f".{name}"}
    (folder / "model.safetensors").write_bytes(save(host))
    (folder / "trainer_state.json").write_text(parts[f"stateful/{COUNTERS}"]["json"], encoding="utf-8")
    return folder


def _refuse(args: TrainingArguments, optimizer: object) -> None:
    """Refuse what the Trainer would do behind a growing model's back.

    Raises:
        TrainerRefused: names it, and what to do.
    """
    alone = "train in one process on one device, or use DistributedDataParallel in a loop of your own"
    scaled = isinstance(optimizer, AcceleratedOptimizer) and optimizer.scaler is not None
    reasons = {
        "several processes": (args.world_size > 1, alone),
        "DataParallel": (args.n_gpu > 1, alone),
        "deepspeed": (bool(args.deepspeed), alone),
        "fsdp": (bool(args.fsdp), alone),
        "fp16": (args.fp16 or scaled, "bf16=True needs no scaler"),
        "torch_compile": (args.torch_compile, "leave it out"),
        "load_best_model_at_end": (
            args.load_best_model_at_end,
            "it loads older weights into a model that has grown since; esper.load(model, run, at=...) does that",
        ),
    }
    for what, (found, cure) in reasons.items():
        if found:
            raise TrainerRefused(NAME, what, cure)
