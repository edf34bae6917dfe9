"""What a user's training script hands over."""

from collections.abc import Callable, Mapping

import msgspec
import torch
from torch import nn

from esper.api.evaluation import Evaluate
from esper.api.settings import GrowthSettings
from esper.tolaria.checkpoint import Stateful


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """The arguments of `attach` that describe the training itself, and not where its log is."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    evaluate: Evaluate
    resume: str | None
    seed: int
    controller: str | None
    settings: GrowthSettings
    stateful: Mapping[str, Stateful | torch.Generator]
    data: str
    say: Callable[[str], None]
    telemetry: bool = True
