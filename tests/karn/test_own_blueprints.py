"""A blueprint of one's own is looked over when it is registered, and refused with what to change."""

import random
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

import esper
from esper.karn.builders import build
from esper.karn.candidates import candidates
from esper.karn.catalogue import CATALOGUE, descriptor
from esper.karn.counting import parameter_count
from esper.karn.errors import BlueprintUnsound, NameTaken, ParameterRefused, ShapeUnsupported, UnknownBlueprint
from esper.karn.own import all_registered, forget, is_own, registered
from tests.karn.sites import SITE, SPAN, inputs, shape

SCALE = 1.0
SHARED = nn.Parameter(torch.ones(1))


class Bottleneck(nn.Module):
    """A way down and up again."""

    def __init__(self, kind: str, width: int, output_width: int, *, rank: int = 4, slope: float = 0.1) -> None:
        super().__init__()
        layer = nn.Conv2d if kind == "image" else nn.Linear
        self.down = layer(width, rank, *([1] if kind == "image" else []))
        self.act = nn.LeakyReLU(slope)
        self.up = zeroed(layer(rank, output_width, *([1] if kind == "image" else [])))

    def forward(self, features: Tensor) -> Tensor:
        """Return what to add."""
        return self.up(self.act(self.down(features)))


def zeroed(layer: nn.Module) -> nn.Module:
    """Return *layer* with zeros, so that what ends in it adds nothing."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def linear(width: int, *, bias: bool = True) -> nn.Linear:
    layer = nn.Linear(width, width, bias=bias)
    zeroed(layer)
    return layer


@pytest.fixture(autouse=True)
def _unregistered() -> Iterator[None]:
    yield
    for own in all_registered():
        forget(own.descriptor.blueprint_id)


def register(name: str = "bottleneck", **how) -> None:
    bounds = {"rank": (1, 64), "slope": (0.0, 1.0)}
    esper.blueprint(name, **({"bounds": bounds} | how))(Bottleneck)


def test_a_sound_blueprint_is_built_counted_and_bounded_like_the_catalogues():
    register()
    where, before = shape((8, 6, 6), (12, 6, 6)), torch.get_rng_state()
    first, again = (build("bottleneck", {"rank": 2}, where, 3) for _ in range(2))
    assert torch.equal(first.down.weight, again.down.weight)
    assert not torch.equal(first.down.weight, build("bottleneck", {"rank": 2}, where, 4).down.weight)
    assert parameter_count("bottleneck", {"rank": 2}, where) == 8 * 2 + 2 + 2 * 12 + 12
    assert not first(inputs(where)).any()
    assert torch.equal(before, torch.get_rng_state())
    with pytest.raises(ParameterRefused, match="between 1 and 64"):
        build("bottleneck", {"rank": 65}, where, 3)
    with pytest.raises(ParameterRefused, match="whole number"):
        build("bottleneck", {"rank": 2.5}, where, 3)
    with pytest.raises(ShapeUnsupported, match="keeps the positions"):
        build("bottleneck", {}, shape((8, 6, 6), (8, 3, 3)), 3)


def test_it_is_offered_first_and_only_where_it_fits():
    register(kinds=["vector"])
    assert candidates(SPAN, shape((16,), (26,)))[0].blueprint_id == "bottleneck"
    (offer,) = [each for each in candidates(SITE, shape((16,))) if each.blueprint_id == "bottleneck"]
    assert (offer.parameter_count, is_own(offer.blueprint_version)) == (16 * 4 + 4 + 4 * 16 + 16, True)
    assert "bottleneck" not in [each.blueprint_id for each in candidates(SITE, shape((16, 8, 8)))]


def test_one_that_is_not_offered_can_still_be_built():
    register(offered=False)
    assert "bottleneck" not in [each.blueprint_id for each in candidates(SITE, shape((16,)))]
    assert parameter_count("bottleneck", {}, shape((16,)))


def test_a_builder_that_fails_at_a_width_is_not_offered_there():
    @esper.blueprint("even", kinds=["vector"])
    def even(kind: str, width: int) -> nn.Module:
        if width % 2:
            raise ValueError("an odd width")
        return linear(width)

    assert "even" not in [each.blueprint_id for each in candidates(SITE, shape((15,)))]
    with pytest.raises(BlueprintUnsound, match="an odd width"):
        build("even", {}, shape((15,)), 0)


def test_what_looks_ahead_in_a_sequence_is_not_offered_to_a_causal_host():
    class Looks(nn.Module):
        def __init__(self, kind: str, width: int) -> None:
            super().__init__()
            self.mix = zeroed(nn.Linear(width, width))

        def forward(self, x: Tensor) -> Tensor:
            return self.mix(x + x.mean(1, keepdim=True))

    esper.blueprint("looks", kinds=["sequence"])(Looks)
    assert registered("looks").mixes_positions
    assert "looks" not in [each.blueprint_id for each in candidates(SITE, shape((6, 16)))]


class Adds(nn.Module):
    """Adds its input."""

    def __init__(self, kind: str, width: int) -> None:
        super().__init__()
        self.layer = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + 0 * self.layer(x)


class Remembers(nn.Module):
    def __init__(self, kind: str, width: int) -> None:
        super().__init__()
        self.layer = linear(width)
        self.register_buffer("seen", torch.zeros(()), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        self.seen += 1
        return self.layer(x)


class Dead(nn.Module):
    def __init__(self, kind: str, width: int) -> None:
        super().__init__()
        self.layer, self.unused = linear(width), nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


class Writes(nn.Module):
    def __init__(self, kind: str, width: int) -> None:
        super().__init__()
        self.layer = linear(width)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.mul_(2.0))


class Mixes(nn.Module):
    def __init__(self, kind: str, width: int) -> None:
        super().__init__()
        self.norm, self.layer = nn.BatchNorm1d(width, track_running_stats=False), linear(width)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(self.norm(x) if len(x) > 1 else x)


class Noisy(nn.Module):
    def __init__(self, kind: str, width: int) -> None:
        super().__init__()
        self.layer = linear(width)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x + torch.randn_like(x))


class Raises(nn.Module):
    def __init__(self, kind: str, width: int) -> None:
        super().__init__()
        self.layer = linear(width)

    def forward(self, x: Tensor) -> Tensor:
        raise KeyError("a bug")


def with_statistics(kind: str, width: int) -> nn.Module:
    return nn.Sequential(nn.BatchNorm1d(width), linear(width))


def tied(kind: str, width: int) -> nn.Module:
    layer = linear(width)
    return nn.Sequential(layer, layer)


def by_chance(kind: str, width: int) -> nn.Module:
    layer = linear(width)
    return nn.Sequential(nn.Linear(width, width), layer) if random.random() < 0 else _drawn(layer)


def _drawn(layer: nn.Linear) -> nn.Module:
    first = nn.Linear(layer.in_features, layer.in_features)
    nn.init.constant_(first.weight, random.random())
    return nn.Sequential(first, layer)


def no_module(kind: str, width: int) -> nn.Module:
    return torch.zeros(width)


def frozen(kind: str, width: int) -> nn.Module:
    return linear(width).requires_grad_(False)


def narrow(kind: str, width: int) -> nn.Module:
    return zeroed(nn.Linear(width, width - 1))


def overflows(kind: str, width: int) -> nn.Module:
    layer = linear(width)
    nn.init.constant_(layer.bias, torch.inf)
    return layer


def live_at_birth(kind: str, width: int) -> nn.Module:
    return nn.Linear(width, width)


class Shares(nn.Module):
    def __init__(self, kind: str, width: int) -> None:
        super().__init__()
        self.scale, self.layer = SHARED, linear(width)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) * self.scale


def lazy(kind: str, width: int) -> nn.Module:
    return nn.LazyLinear(width)


@pytest.mark.parametrize(
    ("builder", "fix"),
    [
        (live_at_birth, "begin its last layer at zero"),
        (Adds, "say replaces=True"),
        (Remembers, "changes its buffer seen"),
        (with_statistics, "take GroupNorm or LayerNorm"),
        (Mixes, "normalise within a sample"),
        (Dead, "no gradient reaches unused"),
        (frozen, "no parameter that learns"),
        (Writes, "writes into its input"),
        (Noisy, "draw only while training"),
        (Raises, "KeyError"),
        (by_chance, "draw from torch's generator only"),
        (tied, "tie no weights"),
        (Shares, "none of a host's"),
        (no_module, "return an nn.Module"),
        (narrow, r"returns \(1, 15\)"),
        (overflows, "not finite"),
        (lazy, "give them their widths"),
    ],
)
def test_an_unsound_blueprint_is_refused_with_what_to_change(builder, fix: str):
    with pytest.raises(BlueprintUnsound, match=fix):
        esper.blueprint("unsound", kinds=["vector"])(builder)
    assert registered("unsound") is None
    assert SHARED.item() == 1.0


def test_a_module_that_replaces_what_it_reads_returns_it_at_birth():
    with pytest.raises(BlueprintUnsound, match="no gradient reaches"):
        esper.blueprint("adds", kinds=["vector"], replaces=True)(Adds)

    @esper.blueprint("rescales", kinds=["vector"], replaces=True)
    class Rescales(nn.Module):
        def __init__(self, kind: str, width: int) -> None:
            super().__init__()
            self.layer = linear(width)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.layer(x)

    assert "rescales" not in [each.blueprint_id for each in candidates(SPAN, shape((16,)))]


@pytest.mark.parametrize(
    ("how", "fix"),
    [
        ({"bounds": {}}, r'bounds=\{"rank"'),
        ({"bounds": {"rank": (8, 9), "slope": (0, 1)}}, "does not lie in its bounds"),
        ({"bounds": {"rank": (1, 9), "slope": (0, 1), "depth": (1, 2)}}, "none of its keyword arguments"),
        ({"kinds": ["volume"]}, "vector, sequence, image: not volume"),
        ({"name": "BP001"}, "beginning with a letter"),
        ({"replaces": True}, "keeps their width"),
        ({"risk": 2.0}, "from 0 to 1"),
    ],
)
def test_a_registration_that_does_not_fit_is_refused(how, fix: str):
    with pytest.raises(BlueprintUnsound, match=fix):
        register(**how)


def test_code_without_a_source_is_refused_because_a_run_is_bound_to_it():
    scope: dict[str, object] = {}
    exec("def nowhere(kind, width): ...", scope)  # noqa: S102 there is no file to read it from
    with pytest.raises(BlueprintUnsound, match="define it in a file"):
        esper.blueprint("nowhere")(scope["nowhere"])


@pytest.mark.parametrize("builder", [lambda kind: None, lambda kind, width, **more: None, lambda *args: None])
def test_a_builder_takes_kind_and_width(builder):
    with pytest.raises(BlueprintUnsound, match=r"takes \(kind, width\)"):
        esper.blueprint("odd")(builder)


def version() -> str:
    return descriptor("bottleneck").version


def test_the_version_follows_all_of_the_users_code_that_the_builder_names(monkeypatch: pytest.MonkeyPatch):
    def scaled(kind: str, width: int) -> nn.Module:
        layer = linear(width)
        layer.scale = SCALE
        return layer

    def other(layer: nn.Module) -> nn.Module:
        """Stand in for `zeroed`, with other code."""
        for parameter in layer.parameters():
            nn.init.constant_(parameter, 0.0)
        return layer

    versions = set[str]()
    for change in ({}, {"SCALE": 2.0}, {"zeroed": other}):
        with monkeypatch.context() as patch:
            for name, value in change.items():
                patch.setitem(scaled.__globals__, name, value)
            esper.blueprint("scaled", kinds=["vector"], replace=True)(scaled)
            versions.add(descriptor("scaled").version)
    assert len(versions) == 3


def test_one_id_is_one_source_unless_the_user_says_otherwise():
    register()
    known = version()
    register()
    assert version() == known
    with pytest.raises(NameTaken, match="replace=True"):
        esper.blueprint("bottleneck", kinds=["vector"])(lambda kind, width: linear(width))
    esper.blueprint("bottleneck", kinds=["vector"], replace=True)(lambda kind, width: linear(width))
    assert version() != known


def test_an_unknown_blueprint_is_refused_with_what_to_run():
    with pytest.raises(UnknownBlueprint, match=r"@esper\.blueprint has run"):
        descriptor("bottleneck")
    assert "bottleneck" not in CATALOGUE
