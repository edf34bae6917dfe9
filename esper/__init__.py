"""Esper: neural networks that grow while they train, with every change recorded as an event."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from esper.api.acknowledge import acknowledge
    from esper.api.attach import attach
    from esper.api.baking import bake
    from esper.api.blueprint import blueprint
    from esper.api.errors import EsperError
    from esper.api.forking import fork
    from esper.api.loading import load
    from esper.api.recorded_run import open_run
    from esper.api.settings import GrowthSettings
    from esper.api.unwrap import unwrap
    from esper.api.wrap import sites_report, wrap
    from esper.kasmina.requests import site
    from esper.tolaria.sampling import ResumableSampler

__all__ = ["EsperError", "GrowthSettings", "ResumableSampler", "acknowledge", "attach", "bake", "blueprint", "fork"]
__all__ += ["load", "open_run", "site", "sites_report", "unwrap", "wrap"]
_HOMES = {  # of names that are not their own module's in esper.api
    "EsperError": "esper.api.errors",
    "GrowthSettings": "esper.api.settings",
    "ResumableSampler": "esper.tolaria.sampling",
    "bake": "esper.api.baking",
    "fork": "esper.api.forking",
    "load": "esper.api.loading",
    "open_run": "esper.api.recorded_run",
    "site": "esper.kasmina.requests",
    "sites_report": "esper.api.wrap",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for, so that `import esper` alone is cheap."""
    if name not in __all__:
        raise AttributeError(f"module 'esper' has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, f"esper.api.{name}")), name)
