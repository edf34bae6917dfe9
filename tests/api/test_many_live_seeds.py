"""Thirty-two seeds at once: all of them live, in an order that does not depend on who came first."""

import msgspec
import pytest
import torch
from torch import Tensor, nn

from esper.api.slots import Accepted, Rejected
from esper.leyline.v1.run_pb2 import CheckpointCommitted
from tests.api.hosts import digits
from tests.api.scripted_log import FAST, Run, ScriptedLog

SEEDS = 32
SETTINGS = msgspec.structs.replace(FAST, checkpoint_every_epochs=100)


class Long(nn.Module):
    """A host of thirty-three blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(64, 8)
        self.blocks = nn.ModuleList(nn.Linear(8, 8) for _ in range(SEEDS + 1))
        self.last = nn.Linear(8, 10)

    def forward(self, pixels: Tensor) -> Tensor:
        features = torch.relu(self.first(pixels))
        for block in self.blocks:
            features = features + 0.1 * torch.relu(block(features))
        return self.last(features)


def grown(log: ScriptedLog, *, backwards: bool) -> Run:
    torch.manual_seed(1)
    run = Run(log, model=Long(), sites=["blocks.*"], controller=None, settings=SETTINGS)
    run.session.observe(digits().train_x[:8])
    slots = list(run.session.slots.values())
    for index in reversed(range(SEEDS)) if backwards else range(SEEDS):
        assert isinstance(slots[index].germinate("BP002", init_seed=index), Accepted)
    assert slots[SEEDS].germinate("BP002") == Rejected("a gate failed", ("live_seeds",))
    run.to(1)
    proven = dict.fromkeys(("best_alpha", "probe_gain", "r_squared", "predicted_loss_decrease"), 0.1)
    for slot in slots[:SEEDS]:
        told = slot.blend({**slot.measured(), **proven, "epochs_in_stage": 1.0}, steps=4)
        assert isinstance(told, Accepted), told
    return run.to(2)


@pytest.mark.slow
def test_thirty_two_seeds_live_at_once_in_one_order_and_are_weighed_at_a_bounded_cost(log: ScriptedLog, tmp_path):
    run = grown(log, backwards=False)
    assert list(run.session.stages.values()) == ["blending"] * SEEDS + ["dormant"]
    facts = run.session.facts
    contributions = {seed.seed_id: seed.measured["contribution"] for seed in facts.seeds[:SEEDS]}
    assert len(facts.coalitions) <= 2 * SEEDS
    scores = {len(each.seed_ids): each.score for each in facts.coalitions}
    assert sum(contributions.values()) == pytest.approx(scores[SEEDS] - scores[0])
    cosines = [seed.measured.get("gradient_cosine") for seed in facts.seeds[:SEEDS]]
    assert all(cosine is not None and -1.0 <= cosine <= 1.0 for cosine in cosines)
    run.assert_the_log_is_sound()
    other = grown(ScriptedLog(tmp_path / "backwards", log.loop), backwards=True)
    assert other.weights == run.weights
    assert [seed.measured for seed in other.session.facts.seeds] == [seed.measured for seed in facts.seeds]


def test_one_kernel_in_two_slots_is_two_modules_that_both_learn(log: ScriptedLog):
    torch.manual_seed(1)
    each = msgspec.structs.replace(SETTINGS, checkpoint_every_epochs=1)
    run = Run(log, model=Long(), sites=["blocks.0", "blocks.1"], controller=None, settings=each)
    run.session.observe(digits().train_x[:8])
    for slot in run.session.slots.values():
        assert isinstance(slot.germinate("BP002", init_seed=7), Accepted)
    run.to(1)
    one, other = run.session.slots.values()
    assert one.seed.kernel_id == other.seed.kernel_id != ""
    assert all(slot.measured()["weights_moved"] for slot in (one, other))
    assert all(slot.measured()["isolation_violations"] == 0.0 for slot in (one, other))
    weights = [seed.weights_sha256 for seed in log.of(CheckpointCommitted)[-1].checkpoint.seeds]
    assert len(set(weights)) == 2
