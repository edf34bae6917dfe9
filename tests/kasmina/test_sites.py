"""Which modules a survey chooses, and what it says about the others."""

import pytest
from torch import nn

from esper.kasmina.errors import ModelRefused, NoSuchSite, NothingToGrow, SharedModule, SiteUnusable
from esper.kasmina.sites import survey
from tests.kasmina.growing_host import Host


def labels(model: nn.Module, sites: object) -> list[str]:
    return [site.label for site in survey(model, sites).chosen]  # type: ignore[arg-type]


def features() -> nn.Module:
    model = nn.Module()
    model.features = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout())
    model.head = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    return model


def test_sites_are_numbered_in_the_users_order():
    chosen = survey(Host(), ["head", ("conv", "head"), "conv"]).chosen
    assert [(site.seed_id, site.label) for site in chosen] == [("s0", "head"), ("s1", "conv -> head"), ("s2", "conv")]
    assert (chosen[1].entry_module, chosen[1].exit_module) == ("conv", "head")
    assert chosen[0].entry_module == ""


def test_a_glob_chooses_layers_and_says_why_the_others_are_none():
    found = survey(features(), ["features.*"])
    assert [site.label for site in found.chosen] == ["features.0"]
    assert dict(found.skipped) == {
        "features.1": "a normalisation layer",
        "features.2": "an activation",
        "features.3": "a pooling layer",
        "features.4": "a dropout layer",
    }
    assert "features.2: an activation" in str(found)


def test_an_exact_name_is_accepted_whatever_it_names():
    assert labels(features(), ["features.2", "features"]) == ["features.2", "features"]


def test_one_site_asked_for_twice_is_one_site():
    assert labels(features(), ["features.0", "features.*", "*.0"]) == ["features.0"]


def test_auto_takes_a_span_over_all_layers_and_then_every_layer():
    assert labels(Host(), "auto") == ["conv -> head", "conv", "head"]
    assert labels(nn.Sequential(nn.Linear(2, 2)), "auto") == ["0"]


def test_a_name_that_matches_nothing_is_answered_with_the_names_there_are():
    with pytest.raises(NoSuchSite, match="no module matches 'fc'; the model has: conv, norm, act, drop, pool, head"):
        survey(Host(), ["fc"])
    with pytest.raises(NoSuchSite, match=r"'blocks\.\*'"):
        survey(Host(), ["conv", "blocks.*"])
    with pytest.raises(NoSuchSite, match="'haed'"):
        survey(Host(), [("conv", "haed")])


def test_a_glob_that_only_matches_other_modules_says_what_they_are():
    with pytest.raises(NothingToGrow, match="act: an activation"):
        survey(Host(), ["ac*"])


def test_a_module_under_two_names_is_refused_by_its_names():
    model = nn.ModuleDict({"one": nn.Linear(2, 2), "other": nn.Linear(2, 2)})
    model["two"] = model["one"]
    with pytest.raises(SharedModule, match="used as one and as two"):
        survey(model, ["one"])
    found = survey(model, ["*"])
    assert [site.label for site in found.chosen] == ["other"]
    assert ("one", "used as one and as two") in found.skipped


def test_layers_that_attention_reads_without_calling_them_are_skipped():
    found = survey(nn.TransformerEncoderLayer(8, 2), ["*"])
    assert [site.label for site in found.chosen] == ["self_attn", "linear1", "linear2"]
    assert dict(found.skipped)["self_attn.out_proj"].startswith("its attention layer")


def test_a_list_of_modules_computes_nothing_and_is_refused():
    model = nn.Module()
    model.blocks = nn.ModuleList([nn.Linear(2, 2)])
    with pytest.raises(SiteUnusable, match="a list of modules"):
        survey(model, ["blocks"])


def test_a_model_that_hides_its_modules_is_refused_by_name():
    with pytest.raises(ModelRefused, match=r"DataParallel cannot be wrapped: wrap its \.module"):
        survey(nn.DataParallel(Host()), "auto")
