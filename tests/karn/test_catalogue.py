"""What the catalogue allows, offers and refuses."""

import json
import math
from pathlib import Path

import pytest
import torch
from torch import nn

from esper.karn.builders import build
from esper.karn.candidates import candidates
from esper.karn.catalogue import (
    CATALOGUE,
    DEPTHWISE_SEPARABLE,
    GATED_FEEDFORWARD,
    IDENTITY,
    LINEAR,
    LOW_RANK,
    RESIDUAL_BLOCK,
    SQUEEZE_EXCITATION,
    descriptor,
    traits,
    versioned,
)
from esper.karn.errors import ParameterRefused, ShapeUnsupported, UnknownBlueprint, VersionUnknown
from esper.karn.manifest import manifest
from esper.karn.parameters import effective_parameters
from esper.leyline.v1.enums_pb2 import BlueprintTier
from esper.leyline.v1.site_pb2 import SiteShape
from tests.karn import versions
from tests.karn.catalogue_page import PAGE, whole
from tests.karn.sites import SITE, SPAN, shape

VECTOR = shape((16,))


def test_an_unknown_blueprint_is_refused_with_those_there_are():
    with pytest.raises(UnknownBlueprint, match="no blueprint 'BP999' is known here, only BP001"):
        build("BP999", {}, VECTOR, 0)


@pytest.mark.parametrize(
    ("parameters", "why"),
    [
        ({"rank": 3.0}, "between 4 and 64"),
        ({"rank": 65.0}, "between 4 and 64"),
        ({"rank": 8.5}, "whole number"),
        ({"rank": math.nan}, "between 4 and 64"),
        ({"scale": math.inf}, "between 0.25 and 4"),
        ({"depth": 1.0}, "declares rank, scale"),
    ],
)
def test_a_parameter_outside_its_bounds_is_refused_before_anything_is_built(parameters: dict[str, float], why: str):
    with pytest.raises(ParameterRefused, match=why):
        build(LOW_RANK, parameters, VECTOR, 0)


def test_a_blueprint_without_parameters_takes_none():
    with pytest.raises(ParameterRefused, match="declares none"):
        build(IDENTITY, {"scale": 1.0}, VECTOR, 0)


def test_a_whole_number_may_be_given_as_one():
    assert effective_parameters("BP-PROJ-LoRA-64", {"rank": 8}) == effective_parameters(
        "BP-PROJ-LoRA-64", {"rank": 8.0}
    )


def test_parameters_left_out_take_their_defaults():
    assert effective_parameters(LOW_RANK, {"rank": 4.0}) == {"rank": 4.0, "scale": 1.0}


@pytest.mark.parametrize(
    ("blueprint_id", "where", "why"),
    [
        (IDENTITY, shape((16,), (8,)), "keeps the shape"),
        (DEPTHWISE_SEPARABLE, VECTOR, "works on SITE_KIND_SEQUENCE, SITE_KIND_IMAGE"),
        (LINEAR, shape((2, 4, 4), (2, 8, 8)), "more positions"),
        (LINEAR, shape((4,), (2, 8, 8)), "of another kind"),
        (LINEAR, shape((16,), dtype="int64"), "dtype 'int64'"),
        (LINEAR, shape((0,)), "does not have the size"),
    ],
)
def test_a_site_that_a_blueprint_cannot_serve_is_refused(blueprint_id: str, where: SiteShape, why: str):
    with pytest.raises(ShapeUnsupported, match=why):
        build(blueprint_id, {}, where, 0)


def test_channels_are_never_squeezed_to_less_than_one():
    with pytest.raises(ParameterRefused, match="only 3 channels"):
        build(SQUEEZE_EXCITATION, {}, shape((3, 8, 8)), 0)


def test_a_span_of_vectors_is_offered_a_nonlinear_module_first():
    offers = candidates(SPAN, shape((16,), (26,)))
    assert [offer.blueprint_id for offer in offers] == [GATED_FEEDFORWARD, LOW_RANK, LINEAR, RESIDUAL_BLOCK]
    hidden = build(offers[0].blueprint_id, offers[0].parameters, shape((16,), (26,)), 0).get_parameter("gate.weight")
    assert hidden.shape == (112, 16)


def test_what_replaces_its_input_is_offered_where_input_and_output_are_one_tensor_only():
    replacing = {"BP003", "BP016"}
    offered = {offer.blueprint_id for offer in candidates(SITE, shape((16, 8, 8)))}
    spanning = {offer.blueprint_id for offer in candidates(SPAN, shape((16, 8, 8)))}
    assert replacing <= offered
    assert not replacing & spanning


def test_an_offer_names_its_seed():
    assert {offer.seed_id for offer in candidates(SPAN, VECTOR)} == {"s1"}


def test_where_a_sequence_comes_out_nothing_is_offered_that_lets_a_position_see_others():
    for site, where in ((SITE, shape((7, 12))), (SPAN, shape((7, 12), (7, 5)))):
        offered = {offer.blueprint_id for offer in candidates(site, where)}
        assert offered
        assert not offered & {DEPTHWISE_SEPARABLE, SQUEEZE_EXCITATION}


def test_no_seed_that_is_offered_for_a_sequence_lets_a_position_see_those_after_it():
    where = shape((6, 8))
    torch.manual_seed(0)
    one = torch.randn(2, 6, 8)
    other = torch.cat([one[:, :3], torch.randn(2, 3, 8)], 1)
    for offer in candidates(SITE, where):
        module = build(offer.blueprint_id, offer.parameters, where, 1).eval()
        for parameter in module.parameters():
            nn.init.normal_(parameter)
        assert torch.equal(module(one)[:, :3], module(other)[:, :3]), offer.blueprint_id


# Ids, names, tiers, bounds, risks and stages as they were asked for, kept apart from the code that declares them.
WANTED: dict[str, dict[str, object]] = json.loads(Path(__file__).with_name("catalogue.json").read_text())
# What a blueprint takes beside what was asked for.
EXTRA = {"BP021": {"dropout"}}


def test_the_catalogue_has_every_blueprint_that_was_asked_for_and_no_other():
    assert CATALOGUE.keys() == WANTED.keys()
    assert len(CATALOGUE) == 69


@pytest.mark.parametrize("blueprint_id", WANTED)
def test_each_is_declared_as_it_was_asked_for(blueprint_id: str):
    row, wanted = CATALOGUE[blueprint_id], WANTED[blueprint_id]
    tier = BlueprintTier.Name(row.tier).removeprefix("BLUEPRINT_TIER_")
    assert (tier, row.risk, row.stage) == (wanted["tier"], wanted["risk"], wanted["stage"])
    assert row.name == wanted.get("name", row.name)
    assert traits(blueprint_id).prior == wanted.get("prior")
    assert row.approval_required == (tier != "SAFE")
    assert row.quarantine_only == (tier == "HIGH_RISK")
    found = {
        name: {
            "scale": "i" if bounds.integer else "log" if name in traits(blueprint_id).logarithmic else "f",
            "min": bounds.min_value,
            "max": bounds.max_value,
        }
        for name, bounds in row.allowed_parameters.items()
        if name not in EXTRA.get(blueprint_id, set())
    }
    assert found == wanted["parameters"]


def test_a_version_stands_for_the_same_descriptor_and_structure_for_ever():
    assert {versioned(row): versions.digest(row) for row in CATALOGUE.values()}.items() <= versions.recorded().items()


def test_an_id_may_name_its_version():
    assert descriptor("BP-ATTN-STD@1.0.0") is descriptor("BP-ATTN-STD")
    with pytest.raises(VersionUnknown, match=r"this installation has BP-ATTN-STD@1\.0\.0"):
        descriptor("BP-ATTN-STD@2.0.0")


def test_the_page_in_the_documentation_is_the_catalogues():
    written = PAGE.read_text()
    assert written == whole(written), "run: python -m tests.karn.catalogue_page"


def test_a_manifest_tells_costs_without_building():
    page = manifest("BP-PROJ-LoRA-64", {"rank": 4.0}, VECTOR)
    assert (page.parameters, page.flops, page.memory_kib, page.mergeable) == (128, 256, 0.5, True)
    assert page.effective == {"rank": 4.0, "scale": 1.0}
    assert manifest("BP-LN-RMS", {}, shape((16,), dtype="bfloat16")).memory_kib == 16 * 2 / 1024


def test_a_pyramid_needs_enough_positions_to_halve():
    with pytest.raises(ParameterRefused, match="only 7 positions"):
        build("BP027", {"levels": 4.0}, shape((16, 7, 9)), 0)
