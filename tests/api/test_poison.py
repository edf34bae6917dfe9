"""Twenty seeds, half of them harmful: the host learns as well as with none of these."""

import math
from collections.abc import Callable

import msgspec
import pytest
import torch
from torch import Tensor, nn

import esper
from esper.api.slots import Accepted
from esper.leyline.v1.enums_pb2 import CullInitiator
from esper.leyline.v1.seed_pb2 import SeedCulled
from tests.api.hosts import digits
from tests.api.scripted_log import FAST, Run, ScriptedLog

SEEDS, HARMFUL, LINEAR = 20, 10, "BP002"
STEPS, EPOCHS = 40, 5
SETTINGS = msgspec.structs.replace(FAST, checkpoint_every_epochs=100, embargo_epochs=100)


class Deep(nn.Module):
    """A host with room for twenty seeds: ten blocks, each a site, and the way over each another."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(64, 16)
        self.blocks = nn.ModuleList(nn.Linear(16, 16) for _ in range(10))
        self.last = nn.Linear(16, 10)

    def forward(self, pixels: Tensor) -> Tensor:
        features = torch.relu(self.first(pixels))
        for block in self.blocks:
            features = features + 0.3 * torch.relu(block(features))
        return self.last(features)


def sites() -> list[object]:
    """The twenty."""
    return [f"blocks.{index}" for index in range(10)] + [(f"blocks.{index}", f"blocks.{index}") for index in range(10)]


class Spoiled:
    """A seed's forward pass, and what is wrong with it from its tenth pass on."""

    def __init__(self, module: nn.Module, spoil: Callable[[Tensor], Tensor], after: int = 10) -> None:
        self.sound, self.spoil, self.left = module.forward, spoil, after

    def __call__(self, features: Tensor) -> Tensor:
        self.left -= 1
        output = self.sound(features)
        return output if self.left >= 0 else self.spoil(output)


MEMORIES: list[Tensor] = []


def raises(output: Tensor) -> Tensor:
    raise ValueError("a seed of ill will")


def remembers(output: Tensor) -> Tensor:
    MEMORIES.append(output.detach() + 0.0)
    return output


def dawdles(output: Tensor) -> Tensor:
    """Real work, of about a tenth of a second: the host's step takes a few milliseconds."""
    busy = torch.ones(500, 500)
    for _ in range(25):
        busy = torch.tanh(busy @ busy)
    return output + 0.0 * busy[0, 0]


class Cursed(torch.autograd.Function):
    """The identity, whose gradient is NaN."""

    @staticmethod
    def forward(ctx, values: Tensor) -> Tensor:
        return values.clone()

    @staticmethod
    def backward(ctx, gradient: Tensor):
        return gradient * math.nan


# What is wrong, and what the log says about it.
HARMS: list[tuple[Callable[[Tensor], Tensor], str]] = [
    (lambda output: output + 1e30, "too_large"),
    (lambda output: output * 0.0 + math.nan, "non_finite"),
    (lambda output: output + math.inf, "non_finite"),
    (lambda output: (output + 1.0) * 1e5, "too_large"),
    (lambda output: output[:, :3], "wrong_shape"),
    (lambda output: (output, output), "wrong_shape"),  # type: ignore[arg-type, return-value]
    (raises, "raised: ValueError: a seed of ill will"),
    (remembers, "leaking"),
    (dawdles, "slow"),
    (Cursed.apply, "non_finite"),
]


def trained(log: ScriptedLog, *, seeds: int, harmful: int) -> tuple[Run, float, list[float]]:
    """Train with *seeds* blended in by hand, spoil the first *harmful*, and return the final score and all losses."""
    MEMORIES.clear()
    torch.manual_seed(5)
    run = Run(log, model=Deep(), sites=sites(), data=digits(), controller=None, settings=SETTINGS)
    session, losses = run.session, list[float]()
    session.observe(digits().train_x[:8])
    slots = list(session.slots.values())
    for slot in slots[:seeds]:
        assert isinstance(slot.germinate(LINEAR), Accepted)
    run.steps(STEPS, lambda _: losses.append(float(session._losses[-1])))
    session.end_epoch()
    for slot in slots[:seeds]:
        proven = dict.fromkeys(("best_alpha", "probe_gain", "r_squared", "predicted_loss_decrease"), 0.1)
        told = slot.blend({**slot.measured(), **proven, "epochs_in_stage": 1.0}, alpha=0.5, steps=STEPS)
        assert isinstance(told, Accepted), told
    for slot, (spoil, _) in zip(slots[:harmful], HARMS, strict=False):
        slot._slot.module.forward = Spoiled(slot._slot.module, spoil)  # type: ignore[method-assign]
    for _ in range(EPOCHS):
        run.steps(STEPS, lambda _: losses.append(float(session._losses[-1])))
        facts = session.end_epoch()
    return run, facts.score, losses


@pytest.mark.slow
def test_ten_harmful_seeds_among_twenty_do_no_harm(log: ScriptedLog, tmp_path):
    run, poisoned, losses = trained(log, seeds=SEEDS, harmful=HARMFUL)
    assert all(math.isfinite(loss) for loss in losses)
    assert all(bool(torch.isfinite(value).all()) for value in run.model.state_dict().values())
    culled = [(event.reason, event.initiator) for event in log.of(SeedCulled)]
    assert len(culled) == HARMFUL
    assert {initiator for _, initiator in culled} == {CullInitiator.CULL_INITIATOR_RUNTIME}
    for _, kind in HARMS:
        assert any(reason.startswith(kind) for reason, _ in culled), (kind, culled)
    alive = [name for name, stage in run.session.stages.items() if stage == "blending"]
    assert alive == list(run.session.stages)[HARMFUL:]
    run.assert_the_log_is_sound()

    _, alone, _ = trained(ScriptedLog(tmp_path / "alone", log.loop), seeds=0, harmful=0)
    _, sound, _ = trained(ScriptedLog(tmp_path / "sound", log.loop), seeds=SEEDS, harmful=0)
    # 397 held-out images: a standard error of about 0.012 near 0.94.
    assert poisoned > min(alone, sound) - 0.025
    assert isinstance(esper.unwrap(run.model, "host"), Deep)
