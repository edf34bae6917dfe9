"""How many parameters a module will have: by exact formula, without building it, unless it is of a user's own."""

import math
from collections.abc import Mapping

from esper.karn import catalogue
from esper.karn.admission import admit
from esper.karn.own import registered
from esper.karn.own_building import own_parameter_count
from esper.karn.route import Route
from esper.karn.widths import BlockWidths, hidden_width, odd_kernel, squeezed_width
from esper.leyline.v1.enums_pb2 import SITE_KIND_IMAGE
from esper.leyline.v1.site_pb2 import SiteShape


def parameter_count(blueprint_id: str, parameters: Mapping[str, float], shape: SiteShape) -> int:
    """Return how many numbers *blueprint_id* learns at a site of *shape*.

    Raises:
        BlueprintRefused: as `esper.karn.builders.build` would.
    """
    chosen, way = admit(blueprint_id, parameters, shape)
    if (own := registered(blueprint_id)) is not None:
        return own_parameter_count(own, chosen, way, shape)
    into, out = way.fan_in, way.channels_out
    match blueprint_id:
        case catalogue.LINEAR:
            return into * out + out
        case catalogue.LAYER_NORM:
            return 3 * out
        case catalogue.RESIDUAL_BLOCK:
            return _residual_block(int(chosen["depth"]), way)
        case catalogue.DEPTHWISE_SEPARABLE:
            cells = odd_kernel(chosen["kernel"]) ** len(way.grid_in)
            return (cells + 2) * way.channels_in + way.channels_in * out + out
        case catalogue.SQUEEZE_EXCITATION:
            hidden = squeezed_width(out, chosen["reduction"])
            return 2 * out * hidden + hidden + out
        case catalogue.GATED_FEEDFORWARD:
            hidden = hidden_width(out, chosen["hidden_multiple"])
            return 2 * (into + 1) * hidden + (hidden + 1) * out
        case catalogue.LOW_RANK:
            return int(chosen["rank"]) * (into + out)
        case _:
            return 0


def _residual_block(depth: int, way: Route) -> int:
    widths = BlockWidths.of(way)
    taps = 9 if way.input_kind == SITE_KIND_IMAGE else 1
    blocks = depth * (2 * taps * widths.width**2 + 4 * widths.width)
    stem = 0 if way.preserving else widths.stem_fan_in * widths.width
    head = widths.width * math.prod(widths.head_grid) * way.channels_out + way.channels_out if widths.head_grid else 0
    return stem + blocks + head
