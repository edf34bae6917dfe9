"""What a blueprint would bring to a site and cost there, in one page."""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType

import msgspec

from esper.karn.catalogue import descriptor, traits, versioned
from esper.karn.counting import cost
from esper.karn.declaration import Reach
from esper.karn.parameters import effective_parameters
from esper.leyline.v1.enums_pb2 import SITE_KIND_IMAGE, SITE_KIND_SEQUENCE, SITE_KIND_VECTOR, BlueprintTier, SiteKind
from esper.leyline.v1.site_pb2 import SiteShape

_BYTES = {"float32": 4, "float64": 8, "bfloat16": 2}
# The sites that latencies were measured at, by kind.
REFERENCE_SIZES: Mapping[SiteKind, tuple[int, ...]] = MappingProxyType(
    {SITE_KIND_VECTOR: (64,), SITE_KIND_SEQUENCE: (32, 64), SITE_KIND_IMAGE: (32, 16, 16)}
)


class Measured(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Latencies that were measured once: the machine, the batch, and milliseconds by blueprint and kind."""

    machine: str
    batch: int
    forward_backward_ms: dict[str, dict[str, float]]


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """One blueprint at one site.

    `flops` are of one sample's forward pass (`esper.karn.costs.cost`). `latency_ms` is that of a batch, forward and
    backward, at the reference site of the same kind, on one machine (`latencies`): compare blueprints by it, and read
    a kernel's own from its registration. `prior` is an estimate that nobody measured; None where there is none.
    """

    blueprint: str
    name: str
    tier: str
    stage: int
    risk: float
    parameters: int
    memory_kib: float
    flops: int
    latency_ms: float | None
    prior: float | None
    reach: Reach
    mergeable: bool
    safe_action: bool
    needs: str
    companion: str
    note: str
    effective: dict[str, float]


def manifest(blueprint_id: str, parameters: Mapping[str, float], shape: SiteShape) -> Manifest:
    """Return the manifest of *blueprint_id* with *parameters* at a site of *shape*.

    Raises:
        BlueprintRefused: as `esper.karn.builders.build` would.
    """
    described, special = descriptor(blueprint_id), traits(blueprint_id)
    costs = cost(described.blueprint_id, parameters, shape)
    kind = SiteKind.Name(shape.input_kind).removeprefix("SITE_KIND_").lower()
    return Manifest(
        blueprint=versioned(described),
        name=described.name,
        tier=BlueprintTier.Name(described.tier).removeprefix("BLUEPRINT_TIER_").lower(),
        stage=described.stage,
        risk=described.risk,
        parameters=costs.parameters,
        memory_kib=costs.parameters * _BYTES[shape.dtype] / 1024,
        flops=costs.flops,
        latency_ms=latencies().forward_backward_ms.get(described.blueprint_id, {}).get(kind),
        prior=special.prior,
        reach=special.reach,
        mergeable=special.mergeable,
        safe_action=special.safe_action,
        needs=special.needs,
        companion=special.companion,
        note=special.note,
        effective=effective_parameters(described.blueprint_id, parameters),
    )


@cache
def latencies() -> Measured:
    """Return the measured latencies that ship with the catalogue; `bench/blueprints.py` measures them."""
    return msgspec.json.decode(files("esper.karn").joinpath("latencies.json").read_bytes(), type=Measured)


def reference_site(kind: SiteKind) -> SiteShape:
    """Return the site of *kind* that latencies were measured at."""
    size = REFERENCE_SIZES[kind]
    return SiteShape(input_kind=kind, input_size=size, output_kind=kind, output_size=size, dtype="float32")
