"""What Karn offers for a site, most promising first."""

from esper.karn import catalogue
from esper.karn.counting import parameter_count
from esper.karn.errors import BlueprintRefused
from esper.karn.own import OwnBlueprint, all_registered, registered
from esper.karn.parameters import effective_parameters
from esper.leyline.v1.enums_pb2 import BLEND_MODE_CONVEX, SITE_KIND_IMAGE, SITE_KIND_SEQUENCE
from esper.leyline.v1.policy_pb2 import Candidate
from esper.leyline.v1.site_pb2 import Site, SiteShape

# The identity is not offered: it cannot change anything, so it cannot pay.
_FOR_IMAGES = (
    catalogue.RESIDUAL_BLOCK,
    catalogue.GATED_FEEDFORWARD,
    catalogue.DEPTHWISE_SEPARABLE,
    catalogue.SQUEEZE_EXCITATION,
    catalogue.LOW_RANK,
    catalogue.LINEAR,
    catalogue.LAYER_NORM,
)
_FOR_OTHERS = (
    catalogue.GATED_FEEDFORWARD,
    catalogue.LOW_RANK,
    catalogue.LINEAR,
    catalogue.RESIDUAL_BLOCK,
    catalogue.DEPTHWISE_SEPARABLE,
    catalogue.SQUEEZE_EXCITATION,
    catalogue.LAYER_NORM,
)
# They let every position see those after it, which would tell a language model its own answers.
_MIX_POSITIONS = (catalogue.DEPTHWISE_SEPARABLE, catalogue.SQUEEZE_EXCITATION)


def candidates(site: Site, shape: SiteShape) -> list[Candidate]:
    """Return every blueprint that fits *site*, with default parameters and exact counts; the user's own first.

    A blueprint that replaces its input is not offered for a span, where input and output are different tensors; one
    that mixes positions is not offered where a sequence comes out, because the host may be causal.
    """
    offered: list[Candidate] = []
    for blueprint_id in (*_own(), *(_FOR_IMAGES if shape.input_kind == SITE_KIND_IMAGE else _FOR_OTHERS)):
        described = catalogue.descriptor(blueprint_id)
        if site.entry_module and described.blend_mode == BLEND_MODE_CONVEX:
            continue
        if shape.output_kind == SITE_KIND_SEQUENCE and _mixes_positions(blueprint_id):
            continue
        parameters = effective_parameters(blueprint_id, {})
        try:
            count = parameter_count(blueprint_id, parameters, shape)
        except BlueprintRefused:
            continue
        offered.append(
            Candidate(
                blueprint_id=blueprint_id,
                parameters=parameters,
                blend_mode=described.blend_mode,
                parameter_count=count,
                risk=described.risk,
                seed_id=site.seed_id,
                blueprint_version=described.version,
            )
        )
    return offered


def _own() -> tuple[str, ...]:
    """Return the ids of the own blueprints that controllers may choose: who registers one wants to see it tried."""
    return tuple(own.descriptor.blueprint_id for own in all_registered() if own.offered)


def _mixes_positions(blueprint_id: str) -> bool:
    own: OwnBlueprint | None = registered(blueprint_id)
    return blueprint_id in _MIX_POSITIONS if own is None else own.mixes_positions
