"""A user's own blueprint, as a decorator on what builds it."""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeVar, cast

from esper.karn.errors import BlueprintUnsound
from esper.karn.own import Builder, OwnBlueprint, describe, register
from esper.karn.source import source_of
from esper.karn.vetting import vetted
from esper.leyline.v1.blueprint_pb2 import BlueprintParameterBounds

B = TypeVar("B", bound=Callable[..., Any])

_PROBE_WIDTH = 16
# (kind, width) or (kind, width, output width).
_POSITIONAL = (2, 3)


def blueprint(
    blueprint_id: str,
    *,
    kinds: Sequence[str] = ("vector", "sequence", "image"),
    bounds: Mapping[str, tuple[float, float]] = MappingProxyType({}),
    replaces: bool = False,
    offered: bool = True,
    risk: float = 0.5,
    probe_width: int = _PROBE_WIDTH,
    replace: bool = False,
) -> Callable[[B], B]:
    """Register what is decorated as a blueprint of your own: a function or class that builds modules to grow.

        @esper.blueprint("bottleneck", kinds=["vector", "sequence"], bounds={"rank": (2, 64)})
        def bottleneck(kind: str, width: int, *, rank: int = 8) -> nn.Module: ...

    It is called with a kind ("vector", "sequence" or "image": tensors (B, C), (B, T, C) or (B, C, H, W)) and the
    width C; if it takes a third positional argument, that is the width of the output, and it can grow at spans. Its
    keyword arguments are hyperparameters: each has a default, an int for a whole number, and *bounds*.

    Its modules return what to add to the host's features or, with *replaces*, new features. It is built at
    *probe_width* for each of its *kinds* at once and refused unless: shapes are right and numbers finite, a newborn
    changes nothing, a gradient reaches every parameter, the same seed of torch's generator gives the same weights, no
    sample depends on another, and weights are all that it remembers.

    Afterwards `slot.germinate(blueprint_id, rank=8)` grows it by hand, and controllers consider it, before the
    catalogue's, at every site that it fits, unless *offered* is False. *risk*, 0 to 1, is what is said of it.
    Its code runs in this process only; what resumes, loads or trains such a run again has to register the same source
    first. *replace* lets another source take the place of one that this process has registered.

    Raises:
        BlueprintUnsound: a check failed; the message names it and says what to change.
        NameTaken: another source is registered under the id.
    """

    def decorate(builder: B) -> B:
        source = _source(blueprint_id, builder)
        numbers, spans = _signature(blueprint_id, builder, bounds)
        described = describe(
            blueprint_id,
            source,
            description=(inspect.getdoc(builder) or "").partition("\n")[0],
            kinds=kinds,
            parameters=numbers,
            replaces=replaces,
            spans=spans,
            risk=risk,
        )
        own = OwnBlueprint(descriptor=described, builder=builder, source=source, offered=offered)
        register(vetted(own, probe_width), replace=replace)
        return builder

    return decorate


def _source(blueprint_id: str, builder: Builder) -> str:
    if not inspect.isfunction(builder) and not inspect.isclass(builder):
        raise BlueprintUnsound(blueprint_id, f"it is a {type(builder).__name__}: decorate a function or a class")
    try:
        return source_of(builder)
    except (OSError, TypeError) as unread:
        raise BlueprintUnsound(
            blueprint_id, f"its source cannot be read ({unread}), and runs are bound to it: define it in a file"
        ) from unread


def _signature(
    blueprint_id: str, builder: Builder, bounds: Mapping[str, tuple[float, float]]
) -> tuple[dict[str, BlueprintParameterBounds], bool]:
    """Return the hyperparameters of *builder*, and whether it takes an output width."""
    kinds = inspect.Parameter
    parameters = list(inspect.signature(builder).parameters.values())
    widths = [each for each in parameters if each.kind in (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD)]
    named = [each for each in parameters if each.kind == kinds.KEYWORD_ONLY]
    if len(widths) not in _POSITIONAL or len(widths) + len(named) != len(parameters):
        raise BlueprintUnsound(
            blueprint_id, "it takes (kind, width) or (kind, width, output_width), and after a `*` its hyperparameters"
        )
    if unknown := sorted(bounds.keys() - {each.name for each in named}):
        raise BlueprintUnsound(blueprint_id, f"bounds has {unknown[0]}, which is none of its keyword arguments")
    return {each.name: _bounds(blueprint_id, each, bounds) for each in named}, len(widths) == _POSITIONAL[-1]


def _bounds(
    blueprint_id: str, parameter: inspect.Parameter, bounds: Mapping[str, tuple[float, float]]
) -> BlueprintParameterBounds:
    name, default = parameter.name, cast("object", parameter.default)
    if isinstance(default, bool) or not isinstance(default, int | float):
        raise BlueprintUnsound(blueprint_id, f"hyperparameter {name} has no number as default: give it one")
    if name not in bounds:
        raise BlueprintUnsound(
            blueprint_id, f'hyperparameter {name} has no bounds: say bounds={{"{name}": (low, high)}}'
        )
    low, high = bounds[name]
    if not (math.isfinite(low) and math.isfinite(high) and low <= default <= high):
        raise BlueprintUnsound(blueprint_id, f"{name}={default:g} does not lie in its bounds, {low:g} to {high:g}")
    whole = isinstance(default, int)
    return BlueprintParameterBounds(min_value=low, max_value=high, default_value=default, integer=whole)
