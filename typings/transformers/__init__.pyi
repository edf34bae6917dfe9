# What Esper uses of transformers, so that its types are checked where the extra is not installed.
from dataclasses import dataclass
from typing import Any

@dataclass
class TrainerState:
    global_step: int
    epoch: float | None

class TrainerControl: ...

class TrainingArguments:
    deepspeed: Any
    fsdp: Any
    fp16: bool
    load_best_model_at_end: bool
    torch_compile: bool
    @property
    def n_gpu(self) -> int: ...
    @property
    def world_size(self) -> int: ...

class TrainerCallback:
    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl | None: ...
    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl | None: ...
    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl | None: ...
    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl | None: ...
