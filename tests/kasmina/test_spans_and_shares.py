"""Modules that run several times, and modules that share weights."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from esper.api.wrap import survey_of, wrap
from esper.kasmina.errors import SharedModule, SiteUnusable
from esper.kasmina.slot import Slot
from esper.leyline.v1.enums_pb2 import BLEND_MODE_RESIDUAL
from esper.leyline.v1.site_pb2 import Site
from tests.kasmina.zoo.hosts import CellLoop, Siamese, TiedLM, letters, pairs, predicted, rows


def test_a_shared_encoder_teaches_its_seed_from_both_of_its_runs():
    model = wrap(Siamese(), ["encoder"], probe=pairs(0)[0])
    slot = Slot(Site(seed_id="s0", label="encoder", exit_module="encoder"), model)
    slot.open_window()
    images, same_digit = pairs(0)
    F.cross_entropy(model(images), same_digit).backward()
    window = slot.close_window()
    assert window is not None
    assert window.samples == 16
    # The head reads the absolute difference of the two, so that what one run should add, the other should take away.
    assert torch.equal(window.gradient[:8], -window.gradient[8:])


def test_a_span_whose_entry_runs_more_often_than_its_exit_is_refused_by_name():
    with pytest.raises(SiteUnusable, match="its entry runs 8 times before its exit runs once"):
        wrap(CellLoop(), [("cell", "head")], probe=rows(0)[0])


def test_tied_weights_stay_tied_and_train_beside_a_seed():
    torch.manual_seed(0)
    model = wrap(TiedLM(), ["lm_head"], probe=letters(0)[0])
    slot = Slot(Site(seed_id="s0", label="lm_head", exit_module="lm_head"), model)
    slot.plant(
        nn.Linear(model.lm_head.out_features, model.lm_head.out_features),
        mode=BLEND_MODE_RESIDUAL,
        learning_rate=None,
        init_seed=1,
        shape=survey_of(model).shapes["s0"],
    )
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    inputs, following = letters(0)
    predicted(model(inputs), following).backward()
    optimizer.step()
    slot.step(1)
    assert model.lm_head.weight is model.wte.weight
    assert slot.measured()["isolation_violations"] == 0.0
    assert survey_of(model).shapes["s0"].at_model_output


class Twins(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Linear(4, 4)] * 3)

    def forward(self, features: Tensor) -> Tensor:
        for block in self.blocks:
            features = block(features)
        return features


def test_one_module_under_several_names_is_refused_with_its_names():
    with pytest.raises(SharedModule, match=r"used as blocks\.0 and as blocks\.1 and as blocks\.2"):
        wrap(Twins(), ["blocks.1"])
