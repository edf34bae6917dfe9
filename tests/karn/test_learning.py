"""Every blueprint learns something real: handwritten digits, through a small net whose other layers stand still."""

from functools import cache

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from esper.leyline.v1.enums_pb2 import BLEND_MODE_CONVEX
from esper.leyline.v1.site_pb2 import SiteShape
from tests.karn.sites import GROWABLE, offer_of, seed_module, shape
from tests.karn.test_contract import sampled

# The digits as vectors of pixels, as eight rows of eight, and as images, behind a fixed layer of sixteen channels.
SITES = {"vector": shape((16,)), "sequence": shape((8, 16)), "image": shape((16, 8, 8))}
# Of images only the quick ones; the others are `slow`.
IMAGES = frozenset({"BP003", "BP006", "BP009", "BP018", "BP027"})
STEPS, SAMPLES = 25, 192


@cache
def digits() -> tuple[Tensor, Tensor]:
    loaded = load_digits()
    return torch.tensor(loaded.images[:SAMPLES] / 16.0, dtype=torch.float32), torch.tensor(loaded.target[:SAMPLES])


@cache
def standing(kind: str) -> tuple[Tensor, nn.Module]:
    """What enters the site, and the layers after it, drawn once and for all."""
    generator = torch.Generator().manual_seed(5)
    images = digits()[0]

    def drawn(out: int, into: int) -> Tensor:
        return torch.randn(out, into, generator=generator) * into**-0.5

    if kind == "vector":
        features = images.flatten(1) @ drawn(16, 64).t()
    elif kind == "sequence":
        features = images @ drawn(16, 8).t()
    else:
        features = torch.einsum("bhw,c->bchw", images, drawn(16, 1).squeeze(1))
    head = nn.Linear(features[0].numel(), 10)
    nn.init.normal_(head.weight, std=head.in_features**-0.5, generator=generator)
    nn.init.zeros_(head.bias)
    return features, nn.Sequential(nn.Flatten(), head).requires_grad_(False)


HERE = [
    (blueprint_id, kind) for blueprint_id in GROWABLE for kind, where in SITES.items() if offer_of(blueprint_id, where)
]
CASES = [
    *sampled(case for case in HERE if case[1] != "image"),
    *sampled((case for case in HERE if case[1] == "image"), IMAGES),
]


@pytest.mark.parametrize(("blueprint_id", "kind"), CASES)
def test_its_loss_falls(blueprint_id: str, kind: str):
    losses = learned(blueprint_id, SITES[kind], kind)
    assert losses == [] or losses[-1] < 0.995 * losses[0]


def learned(blueprint_id: str, where: SiteShape, kind: str) -> list[float]:
    """Train the seed alone, at alpha 1; none for what has nothing to learn."""
    offer = offer_of(blueprint_id, where)
    assert offer is not None
    module, (features, after), target = seed_module(offer, where), standing(kind), digits()[1]
    if not list(module.parameters()):
        return []
    optimizer, losses = torch.optim.Adam(module.parameters(), lr=0.01), list[float]()
    for step in range(STEPS):
        # The noise of routers and the like is drawn alike at every step.
        torch.manual_seed(step)
        output = module(features)
        joined = output if offer.blend_mode == BLEND_MODE_CONVEX else features + output
        loss = nn.functional.cross_entropy(after(joined), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses
