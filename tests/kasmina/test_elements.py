"""Growing one element of what a module returns, whatever the order of its dimensions."""

from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from esper.api.wrap import survey_of, wrap
from esper.kasmina.element import element, replaced
from esper.kasmina.errors import LayoutUnknown, NothingToGrow, SiteUnusable
from esper.kasmina.layout import Layout, layout_of
from esper.kasmina.requests import site
from esper.kasmina.sites import survey

Pair = namedtuple("Pair", ["first", "second"])


@dataclass(frozen=True)
class Frozen:
    hidden: Tensor
    other: int = 3


class ModelOutput(OrderedDict[str, Tensor]):
    """Stands for Hugging Face's: a dictionary that can be copied."""


ONE, TWO = torch.ones(2, 3), torch.full((2, 3), 2.0)


@pytest.mark.parametrize(
    ("output", "path"),
    [
        ((ONE, TWO), ["0"]),
        ([ONE, TWO], ["0"]),
        ((TWO, (ONE, TWO)), ["1", "0"]),
        (Pair(ONE, TWO), ["first"]),
        (Pair(ONE, TWO), ["0"]),
        ({"a": ONE, "b": TWO}, ["a"]),
        (ModelOutput(a=ONE), ["a"]),
        (Frozen(ONE), ["hidden"]),
        (ONE, []),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, list) else "/".join(map(str, value))[:12],
)
def test_an_element_is_found_and_replaced_in_a_copy(output: Any, path: list[str]):
    assert element(output, path) is ONE
    new = torch.zeros(2, 3)
    twin = replaced(output, path, new)
    assert type(twin) is type(output)
    assert element(twin, path) is new
    assert element(output, path) is ONE


@pytest.mark.parametrize(
    ("output", "path", "words"),
    [
        ((ONE,), ["2"], "there are 1 elements, and no element 2"),
        ({"a": ONE}, ["b"], "no 'b' among a"),
        (Frozen(ONE), ["hiden"], "no 'hiden' in a Frozen with hidden, other"),
    ],
)
def test_a_path_that_leads_nowhere_says_what_there_is(output: Any, path: list[str], words: str):
    with pytest.raises(LookupError, match=words):
        element(output, path)


@pytest.mark.parametrize("order", ["TBC", "BCT", "BTC", "CB", "BHWC"])
def test_a_layout_is_undone_with_its_strides(order: str):
    there = torch.randn(*range(2, 2 + len(order)))
    layout = Layout(order)
    canonical = layout.canonical(there)
    assert canonical.shape[0] == there.shape[order.index("B")]
    back = layout.restored(canonical.contiguous() * 1.0, there)
    assert torch.equal(back, there)
    assert back.stride() == there.stride()


def test_layers_of_torch_say_which_dimension_counts_samples():
    model = nn.ModuleDict(
        {
            "first": nn.LSTM(4, 4, batch_first=True),
            "second": nn.GRU(4, 4),
            "signal": nn.Conv1d(4, 4, 3),
            "layer": nn.TransformerEncoderLayer(4, 2),
            "plain": nn.Linear(4, 4),
        }
    )
    names = ["first", "second", "signal", "layer.linear1", "plain"]
    assert [layout_of(model, name) for name in names] == ["BTC", "TBC", "BCT", "TBC", ""]


def test_recurrent_and_attention_layers_grow_at_their_first_element():
    model = nn.ModuleDict({"lstm": nn.LSTM(4, 4), "attn": nn.MultiheadAttention(4, 2), "cell": nn.LSTMCell(4, 4)})
    assert [list(found.output) for found in survey(model, ["lstm", "attn", "cell"]).chosen] == [["0"]] * 3


def test_the_last_states_of_a_recurrent_layer_have_layers_before_the_batch():
    found = survey(nn.ModuleDict({"lstm": nn.LSTM(4, 4, batch_first=True)}), [site("lstm", output=(1, 0))]).chosen[0]
    assert (found.label, list(found.output), found.layout) == ("lstm[1][0]", ["1", "0"], "TBC")


def test_a_layout_that_names_no_dimensions_is_refused():
    with pytest.raises(LayoutUnknown, match="layout 'NTC' is none"):
        site("lstm", layout="NTC")


class Returns(nn.Module):
    """A block that returns whatever it is told to."""

    def __init__(self, what: Any) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 3)
        self.block = Giver(what)

    def forward(self, features: Tensor) -> Tensor:
        self.block(self.inner(features))
        return self.inner(features)


class Giver(nn.Module):
    def __init__(self, what: Any) -> None:
        super().__init__()
        self.what = what

    def forward(self, features: Tensor) -> Any:
        return self.what(features)


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (lambda x: (None, x), r"a tuple of 2 \(NoneType, Tensor\).*esper.site\('block', output=1\)"),
        (lambda x: {"logits": x}, r"a dict with logits.*output='logits'"),
        (lambda x: Frozen(x), r"a Frozen with hidden, other.*output='hidden'"),
        (lambda x: x[0], "it has 1 dimensions"),
        (lambda x: x.long(), "torch.int64"),
        (lambda x: None, "returns a NoneType, not a tensor"),
    ],
    ids=["tuple", "dict", "dataclass", "one dimension", "integers", "nothing"],
)
def test_an_output_that_nobody_declared_is_refused_with_what_to_write(what: Any, words: str):
    model = Returns(what)
    with pytest.raises(SiteUnusable, match=words):
        wrap(model, ["block"], probe=torch.ones(2, 3))
    assert "block" in dict(model.named_modules())


class Packed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, 3, batch_first=True)

    def forward(self, padded: Tensor) -> Tensor:
        return self.lstm(pack_padded_sequence(padded, torch.tensor([4, 2]), batch_first=True))[1][0][-1]


def test_a_packed_sequence_is_refused_and_the_state_after_it_can_grow():
    with pytest.raises(SiteUnusable, match="a PackedSequence has no batch dimension"):
        wrap(Packed(), ["lstm"], probe=torch.ones(2, 4, 3))
    model = wrap(Packed(), [site("lstm", output=(1, 0))], probe=torch.ones(2, 4, 3))
    assert list(survey_of(model).shapes["s0"].output_size) == [1, 3]


def test_three_dimensions_after_a_time_first_layer_must_be_told_apart():
    def host() -> nn.Module:
        return nn.Sequential(nn.LSTM(3, 3), Giver(lambda output: output[0]), nn.Linear(3, 2))

    probe = torch.ones(4, 2, 3)
    with pytest.raises(SiteUnusable, match=r"some layers put time before the batch.*TBC"):
        wrap(host(), ["2"], probe=probe)
    shape = survey_of(wrap(host(), [site("2", layout="TBC")], probe=probe)).shapes["s0"]
    assert list(shape.output_size) == [4, 2]


def test_sites_that_a_glob_or_auto_found_are_left_out_when_they_cannot_be_used():
    model = Returns(lambda x: (x, x))
    model.inner2 = nn.LSTM(3, 3)
    wrap(model, ["inner*", site("bloc?", output=0)], probe=torch.ones(2, 3))
    assert [found.label for found in survey_of(model).chosen] == ["inner", "inner2", "block[0]"]
    assert set(survey_of(model).shapes) == {"s0", "s2"}
    with pytest.raises(NothingToGrow, match="returns a tuple"):
        wrap(Returns(lambda x: (x, x)), [site("bloc?", output=(0, 0))], probe=torch.ones(2, 3))
