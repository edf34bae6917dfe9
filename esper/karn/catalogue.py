"""The eight blueprints that everybody can grow: what each is, what it may be asked for, and where it fits."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from esper.karn.errors import UnknownBlueprint
from esper.karn.own import all_registered, registered
from esper.leyline.v1.blueprint_pb2 import BlueprintDescriptor, BlueprintParameterBounds
from esper.leyline.v1.enums_pb2 import (
    BLEND_MODE_CONVEX,
    BLEND_MODE_RESIDUAL,
    BLUEPRINT_TIER_SAFE,
    SITE_KIND_IMAGE,
    SITE_KIND_SEQUENCE,
    SITE_KIND_VECTOR,
    BlendMode,
    SiteKind,
)

IDENTITY = "BP001"
LINEAR = "BP002"
LAYER_NORM = "BP003"
RESIDUAL_BLOCK = "BP009"
DEPTHWISE_SEPARABLE = "BP015"
SQUEEZE_EXCITATION = "BP016"
GATED_FEEDFORWARD = "BP021"
LOW_RANK = "BP-PROJ-LoRA-64"

_ANY: Sequence[SiteKind] = (SITE_KIND_VECTOR, SITE_KIND_SEQUENCE, SITE_KIND_IMAGE)
_WITH_POSITIONS: Sequence[SiteKind] = (SITE_KIND_SEQUENCE, SITE_KIND_IMAGE)


def _real(low: float, high: float, default: float) -> BlueprintParameterBounds:
    return BlueprintParameterBounds(min_value=low, max_value=high, default_value=default)


def _whole(low: int, high: int, default: int) -> BlueprintParameterBounds:
    return BlueprintParameterBounds(min_value=low, max_value=high, default_value=default, integer=True)


def _blueprint(
    blueprint_id: str,
    name: str,
    description: str,
    *,
    kinds: Sequence[SiteKind],
    blend_mode: BlendMode,
    risk: float,
    stage: int,
    spans: bool = False,
    parameters: Mapping[str, BlueprintParameterBounds] = MappingProxyType({}),
) -> BlueprintDescriptor:
    return BlueprintDescriptor(
        blueprint_id=blueprint_id,
        name=name,
        tier=BLUEPRINT_TIER_SAFE,
        allowed_parameters=parameters,
        risk=risk,
        stage=stage,
        description=description,
        version="1.0.0",
        kinds=kinds,
        blend_mode=blend_mode,
        spans=spans,
    )


_ROWS = (
    _blueprint(
        IDENTITY,
        "identity_passthrough",
        "Returns its input: the control arm, and what is left when nothing else may run.",
        kinds=_ANY,
        blend_mode=BLEND_MODE_CONVEX,
        risk=0.0,
        stage=0,
    ),
    _blueprint(
        LINEAR,
        "linear_projection",
        "One linear map with orthogonal start, times a gain per channel that starts at zero.",
        kinds=_ANY,
        blend_mode=BLEND_MODE_RESIDUAL,
        risk=0.1,
        stage=0,
        spans=True,
        parameters={"scale": _real(0.5, 2.0, 1.0)},
    ),
    _blueprint(
        LAYER_NORM,
        "layer_norm_basic",
        "Normalises over channels, mixed in by a gain per channel that starts at zero.",
        kinds=_ANY,
        blend_mode=BLEND_MODE_CONVEX,
        risk=0.1,
        stage=0,
        parameters={"epsilon": _real(1e-6, 1e-3, 1e-5)},
    ),
    _blueprint(
        RESIDUAL_BLOCK,
        "residual_block",
        "Pre-activation residual blocks (3x3 convolutions on images, linear layers elsewhere).",
        kinds=_ANY,
        blend_mode=BLEND_MODE_RESIDUAL,
        risk=0.3,
        stage=1,
        spans=True,
        parameters={"depth": _whole(1, 4, 1)},
    ),
    _blueprint(
        DEPTHWISE_SEPARABLE,
        "depthwise_separable",
        "One filter per channel over positions, then a mix of channels; an even kernel means the next odd one.",
        kinds=_WITH_POSITIONS,
        blend_mode=BLEND_MODE_RESIDUAL,
        risk=0.4,
        stage=2,
        spans=True,
        parameters={"kernel": _whole(3, 7, 3)},
    ),
    _blueprint(
        SQUEEZE_EXCITATION,
        "squeeze_excitation",
        "Rescales channels by a gate computed from their means; needs at least `reduction` channels.",
        kinds=_WITH_POSITIONS,
        blend_mode=BLEND_MODE_CONVEX,
        risk=0.4,
        stage=2,
        parameters={"reduction": _whole(4, 16, 4)},
    ),
    _blueprint(
        GATED_FEEDFORWARD,
        "feedforward_gated",
        "SwiGLU feed-forward; hidden width is `hidden_multiple` times the width of the output.",
        kinds=_ANY,
        blend_mode=BLEND_MODE_RESIDUAL,
        risk=0.5,
        stage=2,
        spans=True,
        # 4.3 gives a 16 -> 26 span the 112 hidden units that the growth measurements used.
        parameters={"hidden_multiple": _real(2.0, 6.0, 4.3), "dropout": _real(0.0, 0.4, 0.0)},
    ),
    _blueprint(
        LOW_RANK,
        "low_rank_adapter",
        "A linear map of low rank (LoRA, Hu et al. 2021): down to `rank` features and up again, times `scale`.",
        kinds=_ANY,
        blend_mode=BLEND_MODE_RESIDUAL,
        risk=0.1,
        stage=1,
        spans=True,
        parameters={"rank": _whole(4, 64, 8), "scale": _real(0.25, 4.0, 1.0)},
    ),
)

CATALOGUE: Mapping[str, BlueprintDescriptor] = MappingProxyType({row.blueprint_id: row for row in _ROWS})


def descriptor(blueprint_id: str) -> BlueprintDescriptor:
    """Return what the catalogue says of *blueprint_id*, or what its user said who registered it in this process.

    Raises:
        UnknownBlueprint: there is no such blueprint here.
    """
    found = CATALOGUE.get(blueprint_id)
    if found is not None:
        return found
    own = registered(blueprint_id)
    if own is None:
        raise UnknownBlueprint(blueprint_id, (*CATALOGUE, *(each.descriptor.blueprint_id for each in all_registered())))
    return own.descriptor


def known(blueprint_id: str) -> bool:
    """Whether there is such a blueprint here, in the catalogue or of the user's own."""
    return blueprint_id in CATALOGUE or registered(blueprint_id) is not None
