"""What a user's training script hands over."""

from collections.abc import Callable, Mapping

import msgspec
import torch
from torch import nn

from esper.api.evaluation import Evaluate
from esper.api.growth import Objective
from esper.api.settings import GrowthSettings
from esper.kasmina.ranks import ALONE, Ranks
from esper.kasmina.window import LossScale, unscaled
from esper.tolaria.checkpoint import Stateful
from esper.tolaria.rules.vitals import VitalsLimits


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
    objective: Objective | None = None
    ranks: Ranks = ALONE
    # What the others of several processes that train copies of the model have of their own, as parts of a checkpoint.
    companions: Mapping[str, bytes] = {}

    @property
    def vitals(self) -> VitalsLimits:
        """When the run goes back by itself: never, if others train copies of the model, which cannot go back yet."""
        alone = self.ranks.count == 1
        return self.settings.vitals if alone else msgspec.structs.replace(self.settings.vitals, governed=False)


def loss_scale(stateful: Mapping[str, Stateful | torch.Generator]) -> LossScale:
    """Return what the loss is multiplied by before its backward pass, as the scaler in *stateful* has it."""
    scalers = [named for named in stateful.values() if isinstance(named, torch.amp.GradScaler)]
    if len(scalers) > 1:
        raise ValueError("several GradScalers in `stateful`: Esper cannot tell which one scales the loss; give one")
    return scalers[0].get_scale if scalers else unscaled
