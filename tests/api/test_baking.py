"""`bake` writes an unwrapped model as one Python file and one file of tensors."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from esper.api.baking import bake
from esper.api.errors import BakeRefused
from esper.api.unwrap import unwrap
from esper.api.wrap import wrap, wrapped_sites
from esper.karn.builders import build
from esper.leyline.v1.enums_pb2 import BLEND_MODE_RESIDUAL
from tests.api.test_unwrap import keep
from tests.kasmina.growing_host import Host, digits, observed


def grown(blueprint: str = "BP-PROJ-LoRA-64", site: object = "head", **parameters: float) -> Host:
    """A host that kept one seed of *blueprint* at *site*."""
    torch.manual_seed(6)
    model = wrap(Host(), sites=[site])
    shape = observed(model, wrapped_sites(model)[0]).shape
    assert shape is not None
    keep(model, 0, build(blueprint, parameters, shape, 3), BLEND_MODE_RESIDUAL, 0.7)
    return model


def test_a_baked_model_runs_where_esper_cannot_be_imported(tmp_path: Path):
    images = digits(32)[0]
    model = grown("BP009", ("conv", "head")).eval()
    expected = model(images)
    plain = unwrap(model)
    bake(plain, tmp_path / "baked")
    torch.save((images, expected), tmp_path / "batch.pt")
    program = (
        "import sys, torch\n"
        "sys.modules['esper'] = None\n"
        "from model import load\n"
        f"images, expected = torch.load({str(tmp_path / 'batch.pt')!r})\n"
        "assert torch.equal(load()(images), expected)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path / "baked")
    assert sorted(path.name for path in (tmp_path / "baked").iterdir() if path.is_file()) == [
        "model.py", "model.safetensors",
    ]  # fmt: skip


class Speaker(nn.Module):
    """A small language model as people write them: tied weights, attention, a bare parameter, a buffer, an LSTM."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        self.position = nn.Parameter(torch.randn(6, 8))
        self.register_buffer("scale", torch.tensor(0.5), persistent=False)
        self.attend = nn.MultiheadAttention(8, 2, batch_first=True)
        self.remember = nn.LSTM(8, 8, batch_first=True)
        self.block = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        self.stack = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2)
        self.body = nn.Sequential(nn.Linear(8, 8), nn.GELU(), nn.LayerNorm(8))
        self.head = nn.Linear(8, 11, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens: Tensor) -> Tensor:
        words = self.embed(tokens) + self.position * self.scale
        attended, _ = self.attend(words, words, words, need_weights=False)
        remembered, _ = self.remember(words + attended)
        return self.head(self.body(self.stack(self.block(remembered))))


def test_tied_weights_attention_recurrence_and_bare_tensors_are_baked(tmp_path: Path):
    tokens = torch.randint(11, (4, 6))
    model = Speaker().double().eval()
    plain = unwrap(wrap(model, sites=["body.0"]))
    bake(plain, tmp_path / "baked")
    program = (
        "import sys, torch\n"
        "from model import load\n"
        f"tokens, expected = torch.load({str(tmp_path / 'batch.pt')!r})\n"
        "network = load()\n"
        "assert network.head.weight is network.embed.weight\n"
        "assert torch.allclose(network(tokens), expected, rtol=0, atol=1e-12)\n"
    )
    torch.save((tokens, plain(tokens)), tmp_path / "batch.pt")
    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path / "baked")


class Own(nn.Linear):
    """A layer that only its author can build."""


class WithOwn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 4), nn.Transformer(4, 2, 1, 1, 8, batch_first=True)

    def forward(self, rows: Tensor) -> Tensor:
        return self.last(self.first(rows), rows)


def test_a_layer_that_cannot_be_written_down_is_named_and_nothing_is_written(tmp_path: Path):
    plain = unwrap(wrap(WithOwn(), sites=["first"]))
    with pytest.raises(BakeRefused, match="last is a Transformer"):
        bake(plain, tmp_path / "baked")
    assert not list(tmp_path.iterdir())


def test_a_hook_on_a_layer_stays_in_the_plain_model_and_is_refused_by_the_file(tmp_path: Path):
    images = digits(8)[0]
    model = grown().eval()
    handle = model.conv.register_forward_hook(lambda _, __, output: output.clamp(max=0.1))
    expected = model(images)
    plain = unwrap(model)
    assert torch.equal(plain(images), expected)
    with pytest.raises(BakeRefused, match="conv has a hook of yours"):
        bake(plain, tmp_path / "baked")
    handle.remove()
    bake(plain, tmp_path / "baked")


def test_what_is_in_the_folder_is_not_overwritten(tmp_path: Path):
    (tmp_path / "mine.txt").write_text("mine")
    plain = unwrap(wrap(Host(), sites=["head"]))
    with pytest.raises(FileExistsError, match="new folder"):
        bake(plain, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("blueprint", ["BP-PROJ-LoRA-64", "BP002"])
@pytest.mark.parametrize("site", ["head", "conv", ("head", "head")], ids=str)
def test_a_linear_seed_is_folded_into_the_layer_it_follows(blueprint: str, site: object):
    images = digits(64)[0]
    model = grown(blueprint, site).eval()
    with torch.no_grad():
        expected, bare = model(images), list(Host().state_dict())
        plain = unwrap(model, fold_linear=True)
        assert list(plain.state_dict()) == bare
        assert (plain(images) - expected).abs().max() <= 1e-6 * expected.abs().max().clamp_min(1.0)


def test_a_seed_that_is_not_linear_is_kept_beside_the_layer():
    images = digits(64)[0]
    model = grown("BP009", "conv").eval()
    expected = model(images)
    plain = unwrap(model, fold_linear=True)
    assert any("esper_s0" in name for name in plain.state_dict())
    assert torch.equal(plain(images), expected)


def test_a_layer_whose_weight_is_anothers_too_is_not_changed_by_folding():
    class Tied(Host):
        def __init__(self) -> None:
            super().__init__()
            self.twin = nn.Linear(64, 10)
            self.twin.weight = self.head.weight

        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images) + self.twin(images.flatten(1))

    torch.manual_seed(6)
    model = wrap(Tied(), sites=["head"])
    shape = observed(model, wrapped_sites(model)[0]).shape
    assert shape is not None
    keep(model, 0, build("BP-PROJ-LoRA-64", {}, shape, 3), BLEND_MODE_RESIDUAL, 0.7)
    images = digits(64)[0]
    expected = model.eval()(images)
    assert torch.equal(unwrap(model, fold_linear=True)(images), expected)


def test_the_host_is_given_back_without_what_it_grew():
    model = grown().eval()
    images = digits(64)[0]
    grown_says = model(images)
    assert unwrap(model, "host") is model
    assert list(model.state_dict()) == list(Host().state_dict())
    assert not torch.equal(model(images), grown_says)
