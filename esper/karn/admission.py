"""Whether a blueprint may be built with given parameters at a given site."""

from collections.abc import Mapping

from esper.karn import catalogue
from esper.karn.errors import ParameterRefused
from esper.karn.parameters import effective_parameters
from esper.karn.route import Route, route
from esper.leyline.v1.site_pb2 import SiteShape

FEATURE_PYRAMID = "BP027"


def admit(blueprint_id: str, parameters: Mapping[str, float], shape: SiteShape) -> tuple[dict[str, float], Route]:
    """Return all parameters with their values, and the way from input to output, or refuse before anything is built.

    Raises:
        UnknownBlueprint: the catalogue holds no such blueprint.
        ParameterRefused: a parameter that it does not declare, or a value that it does not allow here.
        ShapeUnsupported: it has no module for that input and output.
    """
    chosen = effective_parameters(blueprint_id, parameters)
    way = route(blueprint_id, shape)
    if blueprint_id == catalogue.SQUEEZE_EXCITATION and chosen["reduction"] > way.channels_out:
        why = f"there are only {way.channels_out} channels to squeeze"
        raise ParameterRefused(blueprint_id, "reduction", chosen["reduction"], why)
    if blueprint_id == FEATURE_PYRAMID and min(way.grid_in) < 2 ** (int(chosen["levels"]) - 1):
        why = f"a side has only {min(way.grid_in)} positions to halve"
        raise ParameterRefused(blueprint_id, "levels", chosen["levels"], why)
    return chosen, way
