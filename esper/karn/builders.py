"""Building a module from a blueprint's id and parameters: the only way that grown modules come into being."""

import math
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, nn

from esper.karn import catalogue
from esper.karn.admission import admit
from esper.karn.modules.constructors import CONSTRUCTORS
from esper.karn.modules.depthwise import depthwise_separable
from esper.karn.modules.excitation import ImageExcitation, SequenceExcitation, excitation
from esper.karn.modules.feedforward import GatedFeedForward
from esper.karn.modules.layers import ChannelGain, Grown
from esper.karn.modules.normalisation import mixed_norm
from esper.karn.modules.projections import LinearProjection, LowRankAdapter
from esper.karn.modules.residual import ImageToVectorBlocks, ResidualBlocks, residual_blocks
from esper.karn.own import registered
from esper.karn.own_building import build_own
from esper.karn.route import Route
from esper.karn.widths import hidden_width, odd_kernel, squeezed_width
from esper.leyline.v1.site_pb2 import SiteShape

_Chosen = Mapping[str, float]


def _identity(way: Route, chosen: _Chosen) -> nn.Module:
    return nn.Identity()


def _linear(way: Route, chosen: _Chosen) -> nn.Module:
    return LinearProjection(way, scale=chosen["scale"])


def _layer_norm(way: Route, chosen: _Chosen) -> nn.Module:
    return mixed_norm(way, epsilon=chosen["epsilon"])


def _residual(way: Route, chosen: _Chosen) -> nn.Module:
    return residual_blocks(way, depth=int(chosen["depth"]))


def _depthwise(way: Route, chosen: _Chosen) -> nn.Module:
    return depthwise_separable(way, kernel=odd_kernel(chosen["kernel"]))


def _excitation(way: Route, chosen: _Chosen) -> nn.Module:
    return excitation(way, hidden=squeezed_width(way.channels_out, chosen["reduction"]))


def _feedforward(way: Route, chosen: _Chosen) -> nn.Module:
    hidden = hidden_width(way.channels_out, chosen["hidden_multiple"])
    return GatedFeedForward(way, hidden=hidden, dropout=chosen["dropout"])


def _low_rank(way: Route, chosen: _Chosen) -> nn.Module:
    return LowRankAdapter(way, rank=int(chosen["rank"]), scale=chosen["scale"])


_BUILDERS: Mapping[str, Callable[[Route, _Chosen], nn.Module]] = {
    catalogue.IDENTITY: _identity,
    catalogue.LINEAR: _linear,
    catalogue.LAYER_NORM: _layer_norm,
    catalogue.RESIDUAL_BLOCK: _residual,
    catalogue.DEPTHWISE_SEPARABLE: _depthwise,
    catalogue.SQUEEZE_EXCITATION: _excitation,
    catalogue.GATED_FEEDFORWARD: _feedforward,
    catalogue.LOW_RANK: _low_rank,
    **CONSTRUCTORS,
}


def build(blueprint_id: str, parameters: Mapping[str, float], shape: SiteShape, init_seed: int) -> nn.Module:
    """Return the module that *blueprint_id* stands for at a site of *shape*, on the CPU, in training mode.

    At birth it changes nothing: what it adds is zero, or what it returns equals its input, as the blueprint's blend
    mode says. Every draw comes from a generator seeded with *init_seed*; torch's global random state is not touched,
    from whichever thread this is called; a user's own blueprint wants the thread that trains.

    Raises:
        UnknownBlueprint, ParameterRefused, ShapeUnsupported: the catalogue does not allow it; nothing was built.
        BlueprintUnsound: an own blueprint's builder failed, or built what cannot be a seed.
    """
    chosen, way = admit(blueprint_id, parameters, shape)
    if (own := registered(blueprint_id)) is not None:
        return build_own(own, chosen, way, shape, init_seed)
    # Built without storage, so that the constructors of torch.nn draw nothing from the global generator.
    with torch.device("meta"):
        module = _BUILDERS[blueprint_id](way, chosen)
    module = module.to(dtype=getattr(torch, shape.dtype)).to_empty(device="cpu")
    _initialise(module, torch.Generator().manual_seed(init_seed % 2**63))
    return module


def _initialise(module: nn.Module, generator: torch.Generator) -> None:
    """Give every parameter its first value, in the order of `named_parameters`."""
    zero = {id(parameter) for parameter in _zero_at_birth(module)}
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            layer.reset_running_stats()
        for name, parameter in layer.named_parameters(recurse=False):
            if id(parameter) in zero:
                nn.init.zeros_(parameter)
            elif isinstance(layer, nn.LayerNorm | nn.GroupNorm | nn.BatchNorm1d | nn.BatchNorm2d):
                nn.init.constant_(parameter, 1.0 if name == "weight" else 0.0)
            elif isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d):
                _draw(parameter, layer.weight, generator)
            elif isinstance(layer, Grown):
                # Overwritten by `draw`; a parameter that it forgets shows at once.
                nn.init.constant_(parameter, math.nan)
            else:
                raise AssertionError(f"no first value for {type(layer).__name__}.{name}")
    for layer in module.modules():
        if isinstance(layer, Grown):
            layer.draw(generator)
    if isinstance(module, LinearProjection):
        _draw_orthogonal(module.projection.weight, module.scale, generator)


def _zero_at_birth(module: nn.Module) -> Iterator[Tensor]:
    """Yield the one zero factor of each path through *module*."""
    for layer in module.modules():
        match layer:
            case ChannelGain():
                yield layer.gain
            case LowRankAdapter():
                yield layer.up.weight
            case GatedFeedForward():
                yield from layer.out.parameters()
            case ImageExcitation() | SequenceExcitation():
                yield from layer.excite.parameters()
            case ResidualBlocks() | ImageToVectorBlocks():
                yield from layer.last_maps()
            case Grown():
                yield from layer.zero_at_birth()
            case _:
                pass


def _draw(parameter: nn.Parameter, weight: Tensor, generator: torch.Generator) -> None:
    """Draw uniformly from +-1/sqrt(fan in), torch's own choice for linear and convolutional layers."""
    limit = weight[0].numel() ** -0.5
    nn.init.uniform_(parameter, -limit, limit, generator=generator)


def _draw_orthogonal(weight: Tensor, scale: float, generator: torch.Generator) -> None:
    drawn = torch.empty(weight.shape, dtype=torch.float64)
    nn.init.orthogonal_(drawn, gain=scale, generator=generator)
    with torch.no_grad():
        weight.copy_(drawn)
