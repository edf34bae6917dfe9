"""How a seed joins: each mode follows its formula, and is the host's own bits at alpha 0."""

import copy

import pytest
import torch
from torch import Tensor, nn

from esper.kasmina.blending import Blend
from esper.kasmina.rules.alpha import Ramp
from esper.kasmina.rules.blend import misfit, options
from esper.kasmina.tracing import Fossil, grown_graph
from esper.leyline.v1.enums_pb2 import ALPHA_CURVE_SIGMOID, AlphaCurve, BlendMode, SiteKind
from esper.leyline.v1.site_pb2 import BlendOptions, SiteShape
from tests.kasmina.growing_host import HEAD, Host, digits, observed, same, train

MODES = [mode for mode in BlendMode.values() if mode != BlendMode.BLEND_MODE_UNKNOWN]
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
SIZES = {SiteKind.SITE_KIND_VECTOR: [6], SiteKind.SITE_KIND_SEQUENCE: [5, 6], SiteKind.SITE_KIND_IMAGE: [6, 3, 3]}


def shape(kind: SiteKind = SiteKind.SITE_KIND_VECTOR, dtype: torch.dtype = torch.float32) -> SiteShape:
    size, name = SIZES[kind], str(dtype).removeprefix("torch.")
    return SiteShape(
        input_kind=kind, input_size=size, output_kind=kind, output_size=size, dtype=name, at_model_output=True
    )


def blend(mode: BlendMode, at: SiteShape, *, adds: bool = False) -> Blend:
    return Blend(mode, options(mode, adds=adds, shape=at), at, init_seed=3)


def bits(tensor: Tensor) -> list[int]:
    return tensor.detach().contiguous().view(torch.uint8).flatten().tolist()


@pytest.mark.parametrize("mode", MODES, ids=BlendMode.Name)
@pytest.mark.parametrize("kind", SIZES, ids=SiteKind.Name)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_at_alpha_zero_output_and_gradient_are_the_hosts_bits_whatever_the_seed_says(mode, kind, dtype):
    host = torch.randn(4, *SIZES[kind], generator=torch.Generator().manual_seed(1)).to(dtype)
    host.view(-1)[:4] = torch.tensor([0.0, -0.0, 65504.0, torch.inf])
    host.requires_grad_()
    for bad in (torch.nan, torch.inf, -1.0):
        joined = blend(mode, shape(kind, dtype))(host, torch.full_like(host, bad), host, torch.zeros(()))
        assert bits(joined) == bits(host)
        (gradient,) = torch.autograd.grad(joined.sum(), host)
        assert bits(gradient) == bits(torch.ones_like(host))


@pytest.mark.parametrize("mode", MODES, ids=BlendMode.Name)
@pytest.mark.parametrize("adds", [True, False])
def test_a_newborn_seed_changes_nothing_at_any_alpha(mode, adds):
    host = torch.randn(4, 6)
    # CONVEX and RESIDUAL say by themselves what the seed returns.
    way = blend(mode, shape(), adds=adds)
    newborn = torch.zeros_like(host) if way.adds else host
    assert torch.equal(way(host, newborn, host, torch.tensor(0.7)), host)


def test_the_modes_follow_their_formulas():
    host, seed, alpha = torch.tensor([[2.0, -1.0]]), torch.tensor([[4.0, 3.0]]), torch.tensor(0.25)
    two = SiteShape(input_size=[2], output_size=[2], dtype="float32")
    shares = BlendOptions(channel_shares=[1.0, 0.5])
    assert Blend(BlendMode.BLEND_MODE_CONVEX, None, two)(host, seed, host, alpha).tolist() == [[2.5, 0.0]]
    assert Blend(BlendMode.BLEND_MODE_RESIDUAL, None, two)(host, seed, host, alpha).tolist() == [[3.0, -0.25]]
    assert Blend(BlendMode.BLEND_MODE_CHANNEL, shares, two)(host, seed, host, alpha).tolist() == [[2.5, -0.5]]
    gated = Blend(BlendMode.BLEND_MODE_GATE, BlendOptions(), two)(host, seed, host, alpha)
    assert gated.tolist() == [[2.25, -0.5]]  # half open at birth
    grown = Blend(BlendMode.BLEND_MODE_MULTIPLY, BlendOptions(), two)(host, seed, host, alpha)
    assert torch.allclose(grown, host * (1 + 0.25 * torch.tanh(seed - host)))


def test_confidence_lets_in_more_where_the_answer_with_the_seed_is_surer():
    way = blend(BlendMode.BLEND_MODE_CONFIDENCE, shape(), adds=True)
    host, torn, sure = torch.zeros(1, 6), torch.ones(1, 6), torch.tensor([[1.0, 4.0, 1.0, 1.0, 1.0, 1.0]])
    little, much = (way.gain(host, seed, host, 1.0)[0, 0].item() for seed in (torn, sure))
    assert little == pytest.approx(torch.sigmoid(torch.tensor(4 * -0.2)).item())
    assert much == pytest.approx(torch.sigmoid(torch.tensor(4 * 2.8)).item())


def test_confidence_teaches_by_the_seed_alone_and_stays_between_its_bounds():
    at = shape()
    chosen = BlendOptions(adds=True, steepness=8.0, threshold=0.2, lowest=0.25, highest=0.5)
    way, host = Blend(BlendMode.BLEND_MODE_CONFIDENCE, chosen, at), torch.randn(8, 6)
    seed = torch.randn(8, 6, requires_grad=True)
    share = way.gain(host, seed, host, 1.0) / seed
    assert 0.25 <= share.min() <= share.max() <= 0.5 + 1e-6
    (gradient,) = torch.autograd.grad(way.gain(host, seed, host, 1.0).sum(), seed)
    assert torch.allclose(gradient, share)


def test_a_gate_opens_each_position_of_a_sequence_by_itself_and_teaches_the_host_nothing():
    way = blend(BlendMode.BLEND_MODE_GATE, shape(SiteKind.SITE_KIND_SEQUENCE), adds=True)
    nn.init.ones_(way.gate.outer.weight)
    entry = torch.randn(2, 5, 6, requires_grad=True)
    seed = torch.ones(2, 5, 6)
    gained = way.gain(torch.zeros(2, 5, 6), seed, entry, 1.0)
    later = entry.detach().clone()
    later[:, 3:] += 1.0
    again = way.gain(torch.zeros(2, 5, 6), seed, later, 1.0)
    assert torch.equal(gained[:, :3], again[:, :3])
    assert not torch.equal(gained[:, 3:], again[:, 3:])
    assert torch.autograd.grad(gained.sum(), [entry, way.gate.outer.weight], allow_unused=True)[0] is None


@pytest.mark.parametrize(
    ("mode", "chosen", "why"),
    [
        (BlendMode.BLEND_MODE_UNKNOWN, BlendOptions(), "is none"),
        (BlendMode.BLEND_MODE_CHANNEL, BlendOptions(channel_shares=[1.0] * 7), "6 channels, not 7"),
        (BlendMode.BLEND_MODE_CHANNEL, BlendOptions(channel_shares=[1.0] * 5 + [1.5]), "not at 1.5"),
        (BlendMode.BLEND_MODE_CONFIDENCE, BlendOptions(steepness=0.0), "steepness"),
        (BlendMode.BLEND_MODE_CONFIDENCE, BlendOptions(steepness=4.0, lowest=0.9, highest=0.1), "lowest <= highest"),
    ],
)
def test_numbers_that_a_mode_cannot_have_are_refused(mode, chosen, why):
    assert why in misfit(mode, chosen, shape())


def test_confidence_is_for_logits():
    inside = shape()
    inside.at_model_output = False
    chosen = options(BlendMode.BLEND_MODE_CONFIDENCE, adds=True, shape=inside)
    assert "choose GATE" in misfit(BlendMode.BLEND_MODE_CONFIDENCE, chosen, inside)


class Nudge(nn.Module):
    """Adds something of its own to the logits."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(10, 10)

    def forward(self, logits: Tensor) -> Tensor:
        return torch.tanh(self.inner(logits))


@pytest.mark.parametrize("mode", MODES, ids=BlendMode.Name)
def test_a_seed_lives_its_life_in_every_mode_and_is_written_down_as_it_computes(mode):
    torch.manual_seed(2)
    model = Host()
    slot = observed(model, HEAD)
    assert slot.shape is not None
    numbers = options(mode, adds=True, shape=slot.shape)
    slot.plant(Nudge(), mode=mode, learning_rate=lambda: 1e-2, init_seed=7, blend=numbers)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    train(model, optimizer, 12, slots=(slot,))
    slot.begin_blending(Ramp(12, 4, 0.0, 0.75, ALPHA_CURVE_SIGMOID))
    train(model, optimizer, 6, slots=(slot,), since=12)
    assert (slot.failed, slot.alpha) == ("", 0.75)
    tensors, facts = slot.state()
    slot.fossilize(optimizer)
    train(model, optimizer, 2)
    images = digits(16)[0]
    computed = model.eval()(images)
    assert not torch.equal(computed, Host.forward(_bare(model), images))
    planted = slot._living()
    fossil = Fossil(planted.seed.module, None, model.head, planted.seed.blend, slot.alpha)
    planted.unhook()
    written = torch.fx.GraphModule(model, grown_graph(model, [fossil]))
    assert bits(written.eval()(images)) == bits(computed)

    torch.manual_seed(2)
    twin = Host()
    again = observed(twin, HEAD)
    again.load_state(tensors, facts, module=Nudge(), learning_rate=None, optimizer=optimizer)
    assert same(list(tensors.values()), list(again.state()[0].values()))


def _bare(model: Host) -> Host:
    bare = Host()
    bare.load_state_dict({name: value for name, value in model.state_dict().items() if "esper_" not in name})
    return bare.eval()


def test_the_sigmoid_curve_begins_and_ends_where_it_should():
    ramp = Ramp(0, 5, 0.0, 1.0, ALPHA_CURVE_SIGMOID)
    assert [round(ramp.at(step), 3) for step in range(6)] == [0.0, 0.024, 0.23, 0.77, 0.976, 1.0]


@pytest.mark.parametrize("curve", [curve for curve in AlphaCurve.values() if curve], ids=AlphaCurve.Name)
def test_every_curve_is_monotone_from_exactly_its_start_to_exactly_its_target(curve):
    walk = [Ramp(7, 30, 0.2, 0.9, curve).at(step) for step in range(5, 40)]
    assert walk[:3] == [0.2] * 3
    assert walk[-2:] == [0.9] * 2
    assert walk == sorted(walk)
    assert Ramp(7, 30, 0.9, 0.2, curve).at(22) == pytest.approx(0.55, abs=0.05)


def test_a_copy_of_a_gated_model_gates_for_itself():
    way = blend(BlendMode.BLEND_MODE_GATE, shape())
    twin = copy.deepcopy(way)
    nn.init.ones_(way.gate.outer.bias)
    assert twin.gate.outer.bias.item() == 0.0
