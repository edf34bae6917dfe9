"""Whatever is kept can be baked: the file computes what the grown model computed, without Esper."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from esper.api.baking import bake
from esper.api.unwrap import unwrap
from esper.api.wrap import wrap, wrapped_sites
from esper.karn.builders import build
from esper.karn.catalogue import CATALOGUE
from esper.kasmina.slot import Slot
from esper.leyline.v1.enums_pb2 import BlendMode
from tests.karn.sites import GROWABLE, inputs, offer_of, shape
from tests.karn.test_contract import leave_birth

SEQUENCE, IMAGE = shape((9, 16)), shape((16, 8, 8))
SAMPLE = {"BP006", "BP018", "BP027", "BP033", "BP036", "BP041", "BP-ATTN-STD", "BP-CAP-FUSE-HFFN", "BP-LOAD-BAL-EMA"}


class Body(nn.Module):
    """A host whose one site has the shape of its input."""

    def __init__(self) -> None:
        super().__init__()
        self.site = nn.Identity()
        self.act = nn.PReLU()

    def forward(self, features: Tensor) -> Tensor:
        return self.act(self.site(features))


def keep(model: nn.Module, seed: nn.Module, mode: BlendMode, features: Tensor) -> None:
    """Keep *seed* at the model's one site, without training it."""
    slot = Slot(wrapped_sites(model)[0], model)
    slot.open_window()
    model(features.clone().requires_grad_()).sum().backward()
    slot.close_window()
    slot.plant(seed, mode=mode, learning_rate=lambda: 1e-2, init_seed=7)
    slot.hold(0.7)
    slot.begin_probation()
    slot.fossilize(torch.optim.AdamW(model.parameters()))


@contextmanager
def read(folder: Path) -> Iterator[ModuleType]:
    """Run the baked file where `esper` cannot be imported."""
    hidden = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == "esper"}
    sys.modules["esper"] = None  # type: ignore[assignment]
    module = ModuleType("baked_blueprint")
    module.__file__ = str(folder / "model.py")
    try:
        exec(compile((folder / "model.py").read_text(), "model.py", "exec"), module.__dict__)  # noqa: S102 we baked it
        yield module
    finally:
        del sys.modules["esper"]
        sys.modules.update(hidden)


CASES = [
    pytest.param(name, where, marks=() if name in SAMPLE else pytest.mark.slow)
    for name in GROWABLE
    for where in (SEQUENCE, IMAGE)
    if offer_of(name, where) is not None
]


@pytest.mark.parametrize(("blueprint_id", "where"), CASES)
def test_a_kept_seed_is_baked_as_it_computes(blueprint_id: str, where: object, tmp_path: Path):
    assert isinstance(where, type(SEQUENCE))
    features = inputs(where, 5)
    model = wrap(Body(), sites=["site"])
    module = build(blueprint_id, {}, where, 3)
    leave_birth(module)
    # A few passes, so that running statistics are not those of birth.
    for seed in range(3):
        module(inputs(where, 5, seed))
    keep(model, module, CATALOGUE[blueprint_id].blend_mode, features)
    model.eval()
    expected = model(features)
    bake(unwrap(model), tmp_path / "baked")
    with read(tmp_path / "baked") as baked:
        found = baked.load()(features)
    assert torch.allclose(found, expected, atol=1e-6)
    assert torch.equal(found, model.act(features)) == (blueprint_id in UNSEEN)


# What does nothing in evaluation.
UNSEEN = {"BP001", "BP004", "BP-MON-ACT-STATS", "BP-CLAMP-GRAD-NORM"}
