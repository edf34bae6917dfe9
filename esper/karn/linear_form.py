"""Which grown modules are nothing but a matrix over channels."""

from torch import Tensor, nn

from esper.karn.modules.projections import LinearProjection, LowRankAdapter

# Dimensions: O channels out, I channels in, R rank.


def linear_form(module: nn.Module) -> Tensor | None:
    """Return the matrix (O, I), in double precision, that *module* applies to the channels of every position.

    None if it does anything else: pools, flattens, reads patches, is not linear, or is none of Karn's.
    """
    if not isinstance(module, LinearProjection | LowRankAdapter) or not isinstance(module.entrance, nn.Identity):
        return None
    if isinstance(module, LinearProjection):
        weight_OI = _matrix(module.projection)
        return None if weight_OI is None else module.gain.gain.detach().double().reshape(-1, 1) * weight_OI
    down_RI, up_OR = _matrix(module.down), _matrix(module.up)
    return None if down_RI is None or up_OR is None else up_OR @ down_RI * module.scale


def _matrix(layer: nn.Linear | nn.Conv2d) -> Tensor | None:
    if isinstance(layer, nn.Conv2d) and (layer.kernel_size != (1, 1) or layer.stride != (1, 1)):
        return None
    return layer.weight.detach().double().flatten(1)
