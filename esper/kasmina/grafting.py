"""Makes acknowledged events of a seed true in the live model."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from google.protobuf.message import Message
from torch import nn

from esper.kasmina.rules.alpha import Ramp
from esper.kasmina.slot import Slot
from esper.leyline.v1.enums_pb2 import AfterBlending, BlendMode
from esper.leyline.v1.seed_pb2 import (
    AlphaRampPaused,
    SeedBlendingStarted,
    SeedCulled,
    SeedFossilized,
    SeedProbationStarted,
    SeedShadowingStarted,
    SeedTrainingStarted,
)
from esper.leyline.v1.site_pb2 import BlendOptions, SiteShape


class Seedling(NamedTuple):
    """A verified seed module and how it is to be planted; *learning_rate* is asked for at every step."""

    module: nn.Module
    mode: BlendMode
    init_seed: int
    shape: SiteShape | None
    learning_rate: Callable[[], float]
    blend: BlendOptions | None = None
    after_blending: AfterBlending = AfterBlending.AFTER_BLENDING_UNSPECIFIED


def graft(slot: Slot, event: Message, optimizer: torch.optim.Optimizer, seedling: Seedling | None) -> None:
    """Change the model as *event* says. Call it in the training thread, at a fence, after the acknowledgement.

    *optimizer* is the host's; only `SeedTrainingStarted` needs *seedling*.
    """
    match event:
        case SeedTrainingStarted():
            if seedling is None:
                raise ValueError("a seed starts training with the module that its kernel was verified as")
            slot.plant(
                seedling.module,
                mode=seedling.mode,
                learning_rate=seedling.learning_rate,
                init_seed=seedling.init_seed,
                shape=seedling.shape,
                blend=seedling.blend,
                after_blending=seedling.after_blending,
            )
        case SeedBlendingStarted():
            slot.begin_blending(
                Ramp(event.at.step, event.ramp_steps, event.alpha_from, event.alpha_target, event.curve)
            )
        case AlphaRampPaused():
            slot.pause(event.at.step, event.alpha)
        case SeedShadowingStarted():
            slot.begin_shadowing()
        case SeedProbationStarted():
            slot.begin_probation()
        case SeedFossilized():
            slot.fossilize(optimizer)
        case SeedCulled():
            slot.remove()
        case _:
            return
