"""Twenty seeds, half of them harmful: the host learns as well as with none of these."""

import math
import sys
from collections.abc import Callable

import msgspec
import pytest
import torch
from torch import Tensor, nn

import esper
from esper.api.slots import Accepted, SlotHandle
from esper.leyline.v1.enums_pb2 import CullInitiator
from esper.leyline.v1.run_pb2 import EpochFacts
from esper.leyline.v1.seed_pb2 import SeedCulled
from tests.api.hosts import digits
from tests.api.scripted_log import FAST, Run, ScriptedLog

SEEDS, HARMFUL, LINEAR = 20, 10, "BP002"
STEPS, EPOCHS = 40, 15
RUNS = (5, 6, 7)
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


class Spoiler(nn.Module):
    """Knows the host, which no seed should, and changes its gradient by a millionth."""

    def __init__(self, host: nn.Module) -> None:
        super().__init__()
        self._host = [host]

    def forward(self, output: Tensor) -> Tensor:
        gradient = self._host[0].first.weight.grad
        if gradient is not None:
            gradient.mul_(1.0 + 1e-6)
        return output


def explode(slot: SlotHandle) -> None:
    """Let the seed begin with weights that nobody should begin with."""
    for parameter in slot._slot.module.parameters():
        nn.init.normal_(parameter, std=1e6)


# What is wrong from the tenth blended batch on, and what the log says about it.
Harm = tuple[Callable[[Tensor], Tensor], str]
HARMS: list[Harm] = [
    (lambda output: output * 0.0 + math.nan, "non_finite: returned infinite or undefined numbers"),
    (lambda output: (output + 1.0) * 1e5, "too_large: would make the activation"),
    (lambda output: torch.relu(output * 0.0 - 1.0), "dead: no gradient has reached its parameters"),
    (dawdles, "slow: takes"),
    (remembers, "leaking: keeps"),
    (raises, "raised: ValueError: a seed of ill will"),
    (lambda output: output[:, :3], "wrong_shape: returned (32, 3)"),
    (Cursed.apply, "non_finite: its gradient to the host"),
]
PROVEN = dict.fromkeys(("best_alpha", "probe_gain", "r_squared", "predicted_loss_decrease"), 0.1)
MEDDLES = "leaky: its code changed the gradient of first.weight"
EXPLODED = "gate G2: r_squared -"


class Outcome(msgspec.Struct):
    """What came of one run."""

    run: Run
    score: float
    losses: list[float]
    gradients_finite: bool


def trained(log: ScriptedLog, seed: int, *, seeds: int, harmful: bool) -> Outcome:
    """Train a host with *seeds*, of which half are *harmful*: one from its birth, the others once they are let in."""
    MEMORIES.clear()
    torch.manual_seed(seed)
    run = Run(log, model=Deep(), sites=sites(), data=digits(), controller=None, settings=SETTINGS, seed=seed)
    torch.manual_seed(seed + 100)
    session, found = run.session, Outcome(run, 0.0, [], True)

    def look(_: Run) -> None:
        found.losses.append(float(session._losses[-1]))
        gradients = [parameter.grad for parameter in run.model.parameters() if parameter.grad is not None]
        found.gradients_finite &= all(bool(torch.isfinite(gradient).all()) for gradient in gradients)

    session.observe(digits().train_x[:8])
    slots = list(session.slots.values())[:seeds]
    for index, slot in enumerate(slots):
        assert isinstance(slot.germinate(LINEAR, init_seed=100 * seed + index), Accepted)
    run.steps(1, look)
    if harmful:
        explode(slots[0])
    run.steps(STEPS - 1, look)
    facts = session.end_epoch()
    let_in(slots, facts, exploded=harmful)
    if harmful:
        spoil(slots[1:], run.model)
    for _ in range(EPOCHS):
        run.steps(STEPS, look)
        facts = session.end_epoch()
    found.score = facts.score
    return found


def let_in(slots: list[SlotHandle], facts: EpochFacts, *, exploded: bool) -> None:
    """Blend all seeds in, whatever they are worth: their evidence for gate G2 is forged. That of the first, if it has
    exploded, is what was measured."""
    measured = {seen.seed_id: dict(seen.measured) for seen in facts.seeds}
    for index, slot in enumerate(slots):
        forged = {} if exploded and index == 0 else PROVEN
        told = slot.blend({**measured[slot.seed_id], **forged}, alpha=0.5, steps=STEPS)
        assert isinstance(told, Accepted) == bool(forged), told


def spoil(slots: list[SlotHandle], host: nn.Module) -> None:
    """Spoil as many seeds as there are harms."""
    harms = [harm for harm, _ in HARMS] + [Spoiler(host)]
    for slot, harm in zip(slots, harms, strict=False):
        slot._slot.module.forward = Spoiled(slot._slot.module, harm)  # type: ignore[method-assign]


def culled(log: ScriptedLog) -> dict[str, SeedCulled]:
    """The seeds that were culled, by the slot in which they lived."""
    ends = [record for record in log.recorded() if isinstance(record.event, SeedCulled)]
    found = {record.stream.aggregate_id.rpartition("-")[2]: record.event for record in ends}
    assert len(found) == len(ends)
    return found  # type: ignore[return-value]


@pytest.mark.slow
@pytest.mark.parametrize("seed", RUNS)
def test_ten_harmful_seeds_among_twenty_do_no_harm(log: ScriptedLog, tmp_path, seed: int):
    poisoned = trained(log, seed, seeds=SEEDS, harmful=True)
    ends = culled(log)
    for slot, reason in enumerate([EXPLODED, *(reason for _, reason in HARMS), MEDDLES]):
        assert ends[f"s{slot}"].reason.startswith(reason), ends
    assert len(ends) == HARMFUL
    runtime, gate = CullInitiator.CULL_INITIATOR_RUNTIME, CullInitiator.CULL_INITIATOR_GATE
    assert [ends[f"s{slot}"].initiator for slot in range(HARMFUL)] == [gate, *[runtime] * (HARMFUL - 1)]
    alive = [name for name, stage in poisoned.run.session.stages.items() if stage == "blending"]
    assert alive == list(poisoned.run.session.stages)[HARMFUL:]
    poisoned.run.assert_the_log_is_sound()
    assert isinstance(esper.unwrap(poisoned.run.model, "host"), Deep)

    sound = trained(ScriptedLog(tmp_path / "sound", log.loop), seed, seeds=SEEDS, harmful=False)
    alone = trained(ScriptedLog(tmp_path / "alone", log.loop), seed, seeds=0, harmful=False)
    for outcome in (poisoned, sound, alone):
        assert outcome.gradients_finite
        assert all(math.isfinite(loss) for loss in outcome.losses)
    assert len(poisoned.losses) == len(alone.losses) == STEPS * (EPOCHS + 1)
    sys.stdout.write(f"seed {seed}: poisoned {poisoned.score:.4f}, sound {sound.score:.4f}, alone {alone.score:.4f}\n")
    # 397 held-out images: a difference of 0.03 is two standard errors of it near 0.94.
    assert poisoned.score > alone.score - 0.03
