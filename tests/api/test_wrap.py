"""`wrap` marks a model and changes nothing."""

import copy
import pickle

import pytest
import torch
from torch import nn

from esper.api.errors import NotWrapped
from esper.api.wrap import survey_of, wrap, wrapped_sites
from esper.kasmina.errors import AlreadyWrapped, NoSuchSite
from esper.kasmina.slot import Slot
from tests.kasmina.growing_host import Host, hooks, same, train, weights


def test_wrapping_returns_the_same_object_and_prints_its_sites(capsys: pytest.CaptureFixture[str]):
    model = Host()
    assert wrap(model, sites=["conv", ("conv", "head")]) is model
    assert [site.label for site in wrapped_sites(model)] == ["conv", "conv -> head"]
    assert capsys.readouterr().out == "Host: 2 growth sites\n  s0  conv\n  s1  conv -> head\n"


def test_a_wrapped_model_keeps_its_keys_parameters_and_children():
    model = Host()
    keys, parameters = list(model.state_dict()), list(model.parameters())
    wrap(model)
    assert list(model.state_dict()) == keys
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))
    assert hooks(model) == 0


def test_a_hundred_steps_of_a_wrapped_model_with_dormant_slots_equal_the_bare_ones_bit_for_bit():
    def run(wrapped: bool) -> list[torch.Tensor]:
        torch.manual_seed(1)
        model = Host()
        slots = tuple(Slot(site, model) for site in wrapped_sites(wrap(model))) if wrapped else ()
        outputs: list[torch.Tensor] = []
        optimizer = torch.optim.AdamW(model.parameters())
        train(model, optimizer, 100, slots=slots, seen=lambda output: outputs.append(output.detach()))
        assert hooks(model) == 0
        return [*outputs, *weights(model), *(p.grad for p in model.parameters() if p.grad is not None)]

    assert same(run(wrapped=False), run(wrapped=True))


def test_a_deep_copy_and_a_pickle_of_a_wrapped_model_have_its_sites():
    model = wrap(Host())
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):  # noqa: S301
        assert wrapped_sites(twin) == wrapped_sites(model)
        assert same(weights(twin), weights(model))


def test_a_model_is_wrapped_once():
    model = wrap(Host())
    with pytest.raises(AlreadyWrapped, match="this Host is wrapped already"):
        wrap(model)


def test_a_model_whose_sites_were_wrong_is_not_wrapped():
    model = Host()
    with pytest.raises(NoSuchSite):
        wrap(model, sites=["fc"])
    with pytest.raises(NotWrapped):
        survey_of(model)
    assert isinstance(wrap(model), nn.Module)
