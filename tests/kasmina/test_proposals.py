"""What "auto" proposes for the models that people have, and why it leaves the rest out."""

import torch
from torch import nn

from esper.api.wrap import survey_of, wrap
from esper.kasmina.proposals import AUTO_LIMIT
from esper.kasmina.sites import survey
from tests.kasmina.growing_host import Host, digits, hooks, same, weights
from tests.kasmina.zoo.hosts import CharLSTM, ResNet, SmallTransformer, TabularMLP, TiedLM, rows


def chosen(model: nn.Module) -> dict[str, str]:
    found = survey(model)
    return {site.label: found.reasons[site.seed_id] for site in found.chosen}


def left(model: nn.Module) -> dict[str, str]:
    return dict(survey(model).skipped)


def test_a_bottleneck_gets_a_span_and_comes_first():
    found = chosen(TabularMLP())
    assert next(iter(found.items())) == ("net.0 -> net.6", "a span over a bottleneck")
    assert found["net.4"] == "a linear layer"


def test_a_narrow_place_inside_gets_a_span_of_its_own():
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 4), nn.ReLU(), nn.Linear(4, 32), nn.Linear(32, 6))
    assert [label for label, why in chosen(model).items() if "span" in why] == ["2 -> 4", "0 -> 5"]


def test_convolution_blocks_are_taken_whole():
    found = chosen(ResNet())
    assert [label for label, why in found.items() if "block" in why] == ["stem", "layer1.0", "layer2.0"]
    assert "inside layer1.0, a convolution block's output" in left(ResNet())["layer1.0.conv1"]
    assert left(ResNet())["layer1.0.bn1"] == "a normalisation layer"


def test_recurrent_outputs_come_before_the_layers_after_them():
    assert list(chosen(CharLSTM())) == ["lstm -> head", "lstm", "head"]


def test_attention_and_feed_forward_outputs_of_a_transformer_are_found():
    found = chosen(SmallTransformer())
    assert found["encoder.layers.0.self_attn"] == "an attention layer's output"
    assert found["encoder.layers.1.linear2"] == "a feed-forward block's output"
    assert found["encoder.layers.1"] == "a transformer layer's output"
    reasons = left(SmallTransformer())
    assert reasons["encoder.layers.0.self_attn.out_proj"].startswith("its attention layer reads its weights")
    assert reasons["encoder.layers.0.linear1"].startswith("inside a transformer layer's feed-forward block")


def test_blocks_of_another_make_are_found_by_what_is_in_them():
    found = chosen(TiedLM())
    assert [found["h.0.attn"], found["h.1.mlp"]] == ["an attention layer's output", "a feed-forward block's output"]


def test_auto_takes_no_more_than_its_limit_and_says_what_it_left():
    model = nn.Sequential(*[nn.Linear(4, 4) for _ in range(AUTO_LIMIT + 3)])
    assert len(survey(model).chosen) == AUTO_LIMIT
    assert left(model)[str(AUTO_LIMIT + 2)] == "a linear layer, rank 20; auto takes the best 16"


def test_the_report_is_a_table_of_what_was_chosen_and_what_was_not():
    lines = survey(Host(), ["conv", "*"]).table().splitlines()
    assert lines[0].split() == ["slot", "site", "flows", "why"]
    assert lines[1].endswith("named by you")
    assert lines[2].split() == ["s1", "head", "not", "seen", "yet", "matches", "'*'"]
    assert lines[3].split(maxsplit=2)[2] == "not chosen: a normalisation layer"


def test_a_probe_moves_nothing_and_runs_no_hook_of_the_users():
    torch.manual_seed(0)
    model = Host()
    counted: list[int] = []
    handle = model.conv.register_forward_hook(lambda *_: counted.append(1))
    before = weights(model)
    torch.manual_seed(1)
    wrap(model, probe=digits(6)[0])
    drawn = torch.rand(3)
    torch.manual_seed(1)
    assert torch.equal(drawn, torch.rand(3))
    assert same(weights(model), before)
    assert (counted, hooks(model), model.training) == ([], 1, True)
    assert all(parameter.grad is None for parameter in model.parameters())
    handle.remove()
    assert hooks(model) == 0


def test_a_probe_may_be_a_tuple_or_a_dictionary_of_arguments():
    images = digits(4)[0]
    shapes = [
        survey_of(wrap(Host(), ["conv"], probe=probe)).shapes["s0"] for probe in (images, (images,), {"images": images})
    ]
    assert shapes[0] == shapes[1] == shapes[2]
    assert list(shapes[0].output_size) == [4, 8, 8]


def test_hooks_that_compute_weights_run_in_a_probe():
    model = nn.Sequential(nn.utils.spectral_norm(nn.Linear(64, 5)), nn.Linear(5, 3))
    before = weights(model)
    wrap(model, ["0"], probe=digits(4)[0].flatten(1))
    assert same(weights(model), before)
    assert list(survey_of(model).shapes["s0"].output_size) == [5]


def test_every_site_of_a_transformer_that_auto_found_can_be_seen():
    model = wrap(SmallTransformer(), probe=rows(0)[0])
    assert set(survey_of(model).shapes) == {site.seed_id for site in survey_of(model).chosen}


def test_a_feed_forward_block_that_is_narrow_inside_is_spanned_and_a_wide_one_is_not():
    def block(inside: int) -> nn.Module:
        return nn.Sequential(nn.Linear(12, inside), nn.GELU(), nn.Linear(inside, 12))

    model = nn.ModuleDict({"narrow": block(3), "wide": block(48)})
    found = chosen(model)
    assert found["narrow.0 -> narrow.2"] == "a span over a bottleneck"
    assert found["wide"] == "a feed-forward block's output"
    assert "narrow" not in found
