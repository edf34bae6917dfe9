"""How one blueprint is declared: its descriptor, which is recorded, and its traits, which the manifest tells."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal, TypeAlias

import msgspec

from esper.leyline.v1.blueprint_pb2 import BlueprintDescriptor, BlueprintParameterBounds
from esper.leyline.v1.enums_pb2 import (
    BLUEPRINT_TIER_EXPERIMENTAL,
    BLUEPRINT_TIER_HIGH_RISK,
    BLUEPRINT_TIER_SAFE,
    SITE_KIND_IMAGE,
    SITE_KIND_SEQUENCE,
    SITE_KIND_VECTOR,
    BlendMode,
    BlueprintTier,
    SiteKind,
)

ANY: Sequence[SiteKind] = (SITE_KIND_VECTOR, SITE_KIND_SEQUENCE, SITE_KIND_IMAGE)
WITH_POSITIONS: Sequence[SiteKind] = (SITE_KIND_SEQUENCE, SITE_KIND_IMAGE)
IMAGES: Sequence[SiteKind] = (SITE_KIND_IMAGE,)

# What one step of a sequence reads: itself, itself and earlier ones, or any.
Reach: TypeAlias = Literal["itself", "earlier", "all"]


class Traits(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a blueprint beside its descriptor.

    `prior` is the estimate, from 0 to 1, that the list it comes from gives of its being useful; None if there is none.
    `needs` is a capability of the device without which it runs in its fall-back form; `companion` what it brings along
    because it cannot stand alone; `logarithmic` names the parameters that are best searched on a logarithmic scale.
    """

    reach: Reach = "itself"
    mergeable: bool = False
    safe_action: bool = False
    prior: float | None = None
    needs: str = ""
    companion: str = ""
    note: str = ""
    logarithmic: tuple[str, ...] = ()


NOTHING_SPECIAL = Traits()


class Declaration(msgspec.Struct, frozen=True):
    """One blueprint of the catalogue."""

    descriptor: BlueprintDescriptor
    traits: Traits


def real(low: float, high: float, default: float) -> BlueprintParameterBounds:
    """Return the bounds of a number."""
    return BlueprintParameterBounds(min_value=low, max_value=high, default_value=default)


def whole(low: int, high: int, default: int) -> BlueprintParameterBounds:
    """Return the bounds of a whole number."""
    return BlueprintParameterBounds(min_value=low, max_value=high, default_value=default, integer=True)


def blueprint(
    blueprint_id: str,
    name: str,
    description: str,
    *,
    kinds: Sequence[SiteKind],
    blend_mode: BlendMode,
    risk: float,
    stage: int,
    tier: BlueprintTier = BLUEPRINT_TIER_SAFE,
    spans: bool = False,
    parameters: Mapping[str, BlueprintParameterBounds] = MappingProxyType({}),
    traits: Traits = NOTHING_SPECIAL,
    version: str = "1.0.0",
) -> Declaration:
    """Declare a blueprint; the tier's flags follow from the tier.

    What is declared here is recorded under `version`: change anything, and the version must change with it.
    """
    descriptor = BlueprintDescriptor(
        blueprint_id=blueprint_id,
        name=name,
        tier=tier,
        allowed_parameters=parameters,
        risk=risk,
        stage=stage,
        quarantine_only=tier == BLUEPRINT_TIER_HIGH_RISK,
        approval_required=tier in (BLUEPRINT_TIER_EXPERIMENTAL, BLUEPRINT_TIER_HIGH_RISK),
        description=description,
        version=version,
        kinds=kinds,
        blend_mode=blend_mode,
        spans=spans,
    )
    return Declaration(descriptor, traits)
