"""Esper: neural networks that grow while they train, with every change recorded as an event."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from esper.api.attach import attach
    from esper.api.baking import bake
    from esper.api.errors import EsperError
    from esper.api.forking import fork
    from esper.api.loading import load
    from esper.api.settings import GrowthSettings
    from esper.api.unwrap import unwrap
    from esper.api.wrap import wrap
    from esper.tolaria.sampling import ResumableSampler

__all__ = ["EsperError", "GrowthSettings", "ResumableSampler", "attach", "bake", "fork", "load", "unwrap", "wrap"]

_HOMES = {
    "EsperError": "esper.api.errors",
    "GrowthSettings": "esper.api.settings",
    "ResumableSampler": "esper.tolaria.sampling",
    "attach": "esper.api.attach",
    "bake": "esper.api.baking",
    "fork": "esper.api.forking",
    "load": "esper.api.loading",
    "unwrap": "esper.api.unwrap",
    "wrap": "esper.api.wrap",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for, so that `import esper` alone is cheap."""
    if name not in _HOMES:
        raise AttributeError(f"module 'esper' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
