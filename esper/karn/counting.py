"""What a module will cost, by exact formula, without building it, unless it is of a user's own."""

from collections.abc import Mapping
from types import MappingProxyType

from esper.karn.admission import admit
from esper.karn.costs.cost import Cost
from esper.karn.costs.deep import DEEP
from esper.karn.costs.experimental import EXPERIMENTAL
from esper.karn.costs.plain import PLAIN, Formula
from esper.karn.own import registered
from esper.karn.own_building import own_parameter_count
from esper.leyline.v1.site_pb2 import SiteShape

_FORMULAS: Mapping[str, Formula] = MappingProxyType({**PLAIN, **DEEP, **EXPERIMENTAL})


def cost(blueprint_id: str, parameters: Mapping[str, float], shape: SiteShape) -> Cost:
    """Return what *blueprint_id* costs at a site of *shape*.

    Raises:
        BlueprintRefused: as `esper.karn.builders.build` would.
    """
    chosen, way = admit(blueprint_id, parameters, shape)
    return _FORMULAS[blueprint_id](way, chosen)


def parameter_count(blueprint_id: str, parameters: Mapping[str, float], shape: SiteShape) -> int:
    """Return how many numbers *blueprint_id* learns at a site of *shape*; raises as `cost` does."""
    if (own := registered(blueprint_id)) is not None:
        return own_parameter_count(own, *admit(blueprint_id, parameters, shape), shape)
    return cost(blueprint_id, parameters, shape).parameters
