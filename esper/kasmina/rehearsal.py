"""The user's own loss with a growing seed let in, on a pass that nobody else notices: the shadow objective."""

from collections.abc import Generator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn

from esper.kasmina.foreign import without_foreign_hooks
from esper.kasmina.planted import PlantedSeed, planted_in
from esper.kasmina.tap import taps_on
from esper.kasmina.undisturbed import undisturbed
from esper.leyline.v1.enums_pb2 import SeedLifecycleStage as Stage

APART = (Stage.SEED_STAGE_TRAINING, Stage.SEED_STAGE_SHADOWING)


@contextmanager
def rehearsed(seed: PlantedSeed, model: nn.Module) -> Generator[None]:
    """Let the code inside run *model* with *seed* at alpha 1, such that only *seed* can learn from it.

    The host's parameters are constants, and its buffers, random streams and gradients are put back. Seeds that the
    host feels act as they do, and nothing of theirs moves; those that it does not feel, and windows, see nothing.
    Hooks that are not ours or torch's do not run, and nothing is compiled.
    """
    with ExitStack() as quiet:
        quiet.enter_context(torch.compiler.set_stance("force_eager"))
        quiet.enter_context(undisturbed(model))
        quiet.enter_context(without_foreign_hooks(model))
        others = [other for other in planted_in(model).values() if other is not seed]
        live = [other for other in others if other.stage not in APART]
        for other in live:
            quiet.enter_context(other.override_alpha(other.alpha))
        speaking = [each.tap for each in (seed, *live)]
        for tap in taps_on(model):
            if all(tap is not other for other in speaking):
                quiet.enter_context(tap.muted())
        quiet.enter_context(_constant([own for own in model.parameters() if own.requires_grad]))
        quiet.enter_context(_constant([own for other in others for own in other.seed.parameters if own.requires_grad]))
        quiet.enter_context(torch.enable_grad())
        quiet.enter_context(seed.let_in())
        yield


@contextmanager
def _constant(parameters: list[nn.Parameter]) -> Generator[None]:
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
