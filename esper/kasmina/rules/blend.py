"""Which blends there can be: a mode, its numbers, and the site they are for."""

from esper.leyline.v1.enums_pb2 import AlphaCurve, BlendMode, SiteKind
from esper.leyline.v1.site_pb2 import BlendOptions, SiteShape

# What a margin of 0.2 between two logits is worth; ADR-007 names 4 to 8 and 0.1 to 0.3.
STEEPNESS, THRESHOLD = 4.0, 0.2


def options(mode: BlendMode, *, adds: bool, shape: SiteShape) -> BlendOptions:
    """Return the numbers of *mode* where nobody chose any, for a seed that *adds* to the activation or replaces it."""
    match mode:
        case BlendMode.BLEND_MODE_CHANNEL:
            return BlendOptions(adds=adds, channel_shares=[1.0] * channels(shape))
        case BlendMode.BLEND_MODE_CONFIDENCE:
            return BlendOptions(adds=adds, steepness=STEEPNESS, threshold=THRESHOLD, lowest=0.0, highest=1.0)
        case _:
            return BlendOptions(adds=adds)


def adds(mode: BlendMode, chosen: BlendOptions | None) -> bool:
    """Tell whether the seed returns what is to be added; else it returns what is to stand in the host's place."""
    match mode:
        case BlendMode.BLEND_MODE_RESIDUAL:
            return True
        case BlendMode.BLEND_MODE_CONVEX:
            return False
        case _:
            return chosen is not None and chosen.adds


def channels(shape: SiteShape) -> int:
    """Return how many channels the site's output has."""
    size = shape.output_size
    return size[0] if shape.output_kind == SiteKind.SITE_KIND_IMAGE else size[-1]


def misfit(mode: BlendMode, chosen: BlendOptions, shape: SiteShape) -> str:
    """Say why a seed cannot be blended like this at a site of *shape*; empty if it can."""
    match mode:
        case BlendMode.BLEND_MODE_CONVEX | BlendMode.BLEND_MODE_RESIDUAL:
            return ""
        case BlendMode.BLEND_MODE_MULTIPLY | BlendMode.BLEND_MODE_GATE:
            return ""
        case BlendMode.BLEND_MODE_CHANNEL:
            return _channel_misfit(chosen, shape)
        case BlendMode.BLEND_MODE_CONFIDENCE:
            return _confidence_misfit(chosen, shape)
        case _:
            return f"blend mode {mode} is none"


def _channel_misfit(chosen: BlendOptions, shape: SiteShape) -> str:
    given, wanted = len(chosen.channel_shares), channels(shape)
    if given != wanted:
        return f"CHANNEL needs a share for each of {wanted} channels, not {given}"
    wrong = [share for share in chosen.channel_shares if not 0.0 <= share <= 1.0]
    return f"a channel's share lies between 0 and 1, not at {wrong[0]:g}" if wrong else ""


def _confidence_misfit(chosen: BlendOptions, shape: SiteShape) -> str:
    if not shape.at_model_output:
        return "CONFIDENCE reads logits, and this site's output is not what the model returns: choose GATE"
    if channels(shape) < 2:
        return "CONFIDENCE compares the two largest logits, and there is one"
    if not chosen.steepness > 0.0:
        return f"the steepness of CONFIDENCE is above 0, not {chosen.steepness:g}"
    if not 0.0 <= chosen.lowest <= chosen.highest <= 1.0:
        return f"CONFIDENCE needs 0 <= lowest <= highest <= 1, not {chosen.lowest:g} and {chosen.highest:g}"
    return ""


def curve_misfit(mode: BlendMode, curve: AlphaCurve) -> str:
    """Say why alpha cannot move along *curve* in *mode*; empty if it can."""
    straight = (AlphaCurve.ALPHA_CURVE_UNSPECIFIED, AlphaCurve.ALPHA_CURVE_LINEAR)
    if mode == BlendMode.BLEND_MODE_GATE and curve not in straight:
        return "a gate opens by itself: in GATE mode alpha moves along a linear curve, or both would hold the seed back"
    return ""
