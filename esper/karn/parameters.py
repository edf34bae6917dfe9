"""Which parameters a blueprint may be built with."""

import math
from collections.abc import Mapping

from esper.karn.catalogue import descriptor
from esper.karn.errors import ParameterRefused, SandboxOnly
from esper.leyline.v1.blueprint_pb2 import BlueprintDescriptor


def effective_parameters(blueprint_id: str, parameters: Mapping[str, float]) -> dict[str, float]:
    """Return *parameters* with the defaults of those left out.

    Raises:
        UnknownBlueprint: the catalogue holds no such blueprint.
        SandboxOnly: it is adversarial.
        ParameterRefused: a name that the blueprint does not declare, or a value that it does not allow.
    """
    described = descriptor(blueprint_id)
    if described.quarantine_only:
        raise SandboxOnly(blueprint_id, described.name)
    return within_bounds(described, parameters)


def within_bounds(described: BlueprintDescriptor, parameters: Mapping[str, float]) -> dict[str, float]:
    """Return *parameters* with the defaults of those left out; raises `ParameterRefused`."""
    blueprint_id, allowed = described.blueprint_id, described.allowed_parameters
    for name, value in parameters.items():
        if name not in allowed:
            declared = ", ".join(sorted(allowed)) or "none"
            raise ParameterRefused(blueprint_id, name, value, f"the blueprint declares {declared}")
        bounds = allowed[name]
        if not math.isfinite(value) or not bounds.min_value <= value <= bounds.max_value:
            why = f"it must lie between {bounds.min_value:g} and {bounds.max_value:g}"
            raise ParameterRefused(blueprint_id, name, value, why)
        if bounds.integer and not float(value).is_integer():
            raise ParameterRefused(blueprint_id, name, value, "it must be a whole number")
    return {name: parameters.get(name, bounds.default_value) for name, bounds in sorted(allowed.items())}
