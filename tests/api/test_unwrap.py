"""`unwrap` writes a grown model down as plain PyTorch modules."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from esper.api.errors import NotWrapped
from esper.api.unwrap import unwrap
from esper.api.wrap import wrap, wrapped_sites
from esper.karn.builders import build
from esper.karn.candidates import candidates
from esper.kasmina.errors import AlreadyWrapped, UnwrapRefused
from esper.kasmina.requests import site
from esper.kasmina.slot import Slot
from esper.leyline.v1.enums_pb2 import BLEND_MODE_CONVEX, BLEND_MODE_RESIDUAL, BlendMode
from esper.leyline.v1.policy_pb2 import Candidate
from tests.kasmina.growing_host import Host, ImageSeed, SpanSeed, digits, hooks, observed, planted, train

BOTH = ["conv", ("conv", "head")]


def keep(model: nn.Module, index: int, seed: nn.Module, mode: BlendMode, alpha: float) -> Slot:
    """Grow *seed* at the model's site of that number and keep it."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    slot = planted(model, wrapped_sites(model)[index], seed, mode)
    slot.hold(alpha)
    slot.begin_probation()
    train(model, optimizer, 5, slots=(slot,))
    slot.fossilize(optimizer)
    return slot


@pytest.fixture
def grown() -> Host:
    """A host with a kept CONVEX seed in a block and a kept RESIDUAL one over a span, and one unfinished seed."""
    torch.manual_seed(6)
    model = wrap(Host(), sites=[*BOTH, "head"])
    keep(model, 1, SpanSeed(), BLEND_MODE_RESIDUAL, 0.7)
    keep(model, 0, ImageSeed(), BLEND_MODE_CONVEX, 0.3)
    planted(model, wrapped_sites(model)[2], nn.Linear(10, 10))
    return model


def test_an_unwrapped_model_computes_what_the_grown_one_computes_bit_for_bit(grown: Host):
    images = digits(32)[0]
    before = grown.eval()(images)
    plain = unwrap(grown)
    assert torch.equal(plain(images), before)
    assert not torch.equal(grown(images), before)


def test_an_unwrapped_model_keeps_names_and_parameters(grown: Host):
    keys, parameters = set(grown.state_dict()), {id(parameter) for parameter in grown.parameters()}
    plain = unwrap(grown)
    assert set(plain.state_dict()) == keys
    assert {id(parameter) for parameter in plain.parameters()} == parameters
    assert "head.esper_s1.outer.weight" in keys


def test_the_wrapped_model_is_left_without_hooks(grown: Host):
    unwrap(grown)
    assert hooks(grown) == 0
    with pytest.raises(NotWrapped):
        unwrap(grown)


def test_an_unwrapped_model_loads_and_runs_where_esper_cannot_be_imported(grown: Host, tmp_path: Path):
    images = digits(32)[0]
    plain = unwrap(grown.eval())
    torch.save((plain, images, plain(images)), tmp_path / "grown.pt")
    program = (
        "import sys, torch\n"
        "sys.modules['esper'] = None\n"
        f"model, images, expected = torch.load({str(tmp_path / 'grown.pt')!r}, weights_only=False)\n"
        "assert torch.equal(model(images), expected)\n"
        "assert not any(name.startswith('tests') for name in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path)


def test_an_unwrapped_model_trains_on(grown: Host):
    plain = unwrap(grown)
    before = [parameter.detach().clone() for parameter in plain.parameters()]
    train(plain.train(), torch.optim.AdamW(plain.parameters(), lr=1e-2), 3)
    assert not any(torch.equal(a, b) for a, b in zip(before, plain.parameters(), strict=True))


def test_a_model_that_kept_nothing_unwraps_to_itself():
    model = wrap(Host()).eval()
    images = digits(8)[0]
    expected = model(images)
    assert torch.equal(unwrap(model)(images), expected)


class ReadsItsMode(Host):
    def forward(self, images: Tensor) -> Tensor:
        return F.dropout(super().forward(images), 0.5, self.training)


class Branches(Host):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images if images.sum() > 0 else -images)


class Hesitant(SpanSeed):
    def forward(self, image: Tensor) -> Tensor:
        return super().forward(image) if image.sum() > 0 else super().forward(-image)


def test_a_kept_seed_that_cannot_be_written_down_is_named_and_goes_on():
    torch.manual_seed(6)
    model = wrap(Host(), sites=BOTH)
    keep(model, 1, Hesitant(), BLEND_MODE_RESIDUAL, 0.7)
    images = digits(8)[0]
    before = model.eval()(images)
    with pytest.raises(UnwrapRefused, match="cannot follow a kept Hesitant"):
        unwrap(model)
    assert torch.equal(model(images), before)


@pytest.mark.parametrize(
    ("kind", "reason"), [(ReadsItsMode, "reads self.training"), (Branches, "torch.fx cannot follow")]
)
def test_a_model_that_cannot_be_written_down_is_refused_and_works_as_before(kind: type[Host], reason: str):
    model = wrap(kind(), sites=BOTH)
    keep(model, 1, SpanSeed(), BLEND_MODE_RESIDUAL, 1.0)
    images = digits(8)[0]
    before = model.eval()(images)
    with pytest.raises(UnwrapRefused, match=reason):
        unwrap(model)
    assert torch.equal(model(images), before)
    with pytest.raises(AlreadyWrapped):
        wrap(model)


@pytest.mark.parametrize("site", ["conv", ("conv", "head"), "head"], ids=str)
def test_every_blueprint_that_fits_a_site_unwraps_to_the_same_bits_without_a_class_of_esper(site: str):
    images = digits(16)[0]
    for candidate in fitting(site):
        torch.manual_seed(8)
        model = wrap(Host(), sites=[site])
        shape = observed(model, wrapped_sites(model)[0]).shape
        assert shape is not None
        keep(model, 0, build(candidate.blueprint_id, candidate.parameters, shape, 3), candidate.blend_mode, 1.0)
        expected = model.eval()(images)
        plain = unwrap(model)
        assert torch.equal(plain(images), expected)
        assert {type(module).__module__.partition(".")[0] for module in plain.modules()} == {"torch"}


def fitting(site: str) -> list[Candidate]:
    """What Karn offers for *site* of a host."""
    model = wrap(Host(), sites=[site])
    slot = observed(model, wrapped_sites(model)[0])
    assert slot.shape is not None
    return candidates(slot.site, slot.shape)


class Rows(nn.Module):
    """An image, row by row and time first, through a recurrent layer."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(8, 6)
        self.head = nn.Linear(6, 10)

    def forward(self, images: Tensor) -> Tensor:
        output, _ = self.lstm(images.view(-1, 8, 8).transpose(0, 1))
        return self.head(output[-1])


def test_a_seed_in_a_recurrent_layer_is_written_down_in_the_layers_own_order():
    torch.manual_seed(4)
    model = wrap(Rows(), sites=["lstm"])
    keep(model, 0, nn.Linear(6, 6), BLEND_MODE_RESIDUAL, 0.6)
    images = digits(8)[0]
    before = model.eval()(images)
    plain = unwrap(model)
    assert torch.equal(plain(images), before)
    assert hooks(plain) == 0
    assert not torch.equal(model(images), before)


class LastState(Rows):
    def forward(self, images: Tensor) -> Tensor:
        _, (state, _) = self.lstm(images.view(-1, 8, 8).transpose(0, 1))
        return self.head(state[-1])


def test_a_seed_in_an_element_that_cannot_be_written_down_is_refused_and_goes_on():
    torch.manual_seed(4)
    model = wrap(LastState(), sites=[site("lstm", output=(1, 0))])
    keep(model, 0, nn.Linear(6, 6), BLEND_MODE_RESIDUAL, 0.6)
    images = digits(8)[0]
    before = model.eval()(images)
    with pytest.raises(UnwrapRefused, match="one element of what lstm returns"):
        unwrap(model)
    assert torch.equal(model(images), before)


def test_a_hook_that_the_plain_model_would_lose_is_refused_before_anything_runs_it():
    class Hooked(Host):
        def __init__(self) -> None:
            super().__init__()
            self.seen = 0
            self.block = nn.Sequential(self.norm, self.act)
            self.handle = self.block.register_forward_hook(self.note)

        def note(self, *_: object) -> None:
            self.seen += 1

        def forward(self, images: Tensor) -> Tensor:
            return self.head(self.pool(self.drop(self.block(self.conv(images)))).flatten(1))

    model = wrap(Hooked(), sites=["conv"])
    with pytest.raises(UnwrapRefused, match="block has a hook of yours"):
        unwrap(model)
    assert model.seen == 0
    model.handle.remove()
    unwrap(model)
