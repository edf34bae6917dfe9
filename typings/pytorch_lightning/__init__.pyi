# What Esper uses of pytorch-lightning, so that its types are checked where the extra is not installed.
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from torch import nn
from torch.optim import Optimizer

class _Progress(Protocol):
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None: ...

class _AutomaticOptimization(Protocol):
    optim_progress: _Progress

class _EpochLoop(Protocol):
    batch_progress: _Progress
    scheduler_progress: _Progress
    automatic_optimization: _AutomaticOptimization
    _batches_that_stepped: int

class _FitLoop(Protocol):
    epoch_progress: _Progress
    epoch_loop: _EpochLoop

class _SchedulerConfig(Protocol):
    scheduler: Any

class LightningModule(nn.Module):
    automatic_optimization: bool

class Trainer:
    ckpt_path: str | None
    fit_loop: _FitLoop
    @property
    def global_step(self) -> int: ...
    @property
    def lr_scheduler_configs(self) -> Sequence[_SchedulerConfig]: ...
    @property
    def num_devices(self) -> int: ...
    @property
    def optimizers(self) -> Sequence[Optimizer]: ...
    @property
    def precision(self) -> str: ...
    @property
    def world_size(self) -> int: ...

class Callback:
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None: ...
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None: ...
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None: ...
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None: ...
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None: ...
