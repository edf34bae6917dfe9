"""Where in a model seeds may grow."""

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TypeAlias, cast

import msgspec
from torch import nn
from torch.nn.modules import activation, batchnorm, container, dropout, instancenorm, normalization, pooling

from esper.kasmina.errors import ModelRefused, NoSuchSite, NothingToGrow, SharedModule, SiteUnusable
from esper.leyline.v1.site_pb2 import Site

# "features.3", "features.*", ("conv1", "head") or "auto", alone or several in a list.
SiteRequest: TypeAlias = str | tuple[str, str]
SiteRequests: TypeAlias = str | Sequence[SiteRequest]

AUTO = "auto"
GROWABLE = (nn.Linear, nn.Conv2d)
ADVICE: Mapping[str, str] = {
    "DataParallel": "wrap its .module and train on one device",
    "DistributedDataParallel": "wrap its .module; distributed training is not supported",
    "FullyShardedDataParallel": "wrap the model before sharding; distributed training is not supported",
    "FSDPModule": "wrap the model before sharding; distributed training is not supported",
    "OptimizedModule": "wrap the model before torch.compile",
    "ScriptModule": "wrap the Python module that was scripted",
}


class SiteSurvey(msgspec.Struct, frozen=True):
    """The sites that were chosen, in the user's order, and why other modules were not."""

    chosen: tuple[Site, ...]
    skipped: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        lines = [f"{len(self.chosen)} growth site{'' if len(self.chosen) == 1 else 's'}"]
        lines += [f"  {site.seed_id}  {site.label}" for site in self.chosen]
        lines += [f"  --  {name}: {reason}" for name, reason in self.skipped]
        return "\n".join(lines)


def survey(model: nn.Module, sites: SiteRequests = AUTO) -> SiteSurvey:
    """Choose growth sites of *model*: exact names, globs over dotted names, spans (entry, exit), or "auto".

    An exact name is always accepted. A glob, and "auto", choose the linear and 2-d convolution layers; "auto" adds a
    span from the first of them to the last. A span reads its entry's input and adds to its exit's output.

    Raises:
        ModelRefused: the model is wrapped in something that hides its modules.
        NoSuchSite: a name or glob matches no module.
        NothingToGrow: everything that matched was skipped.
        SharedModule: a module that was named exactly goes by several names.
        SiteUnusable: a module that was named exactly is a mere list of modules.
    """
    refuse_hidden(model)
    chosen: dict[tuple[str, str], str] = {}
    skipped: dict[str, str] = {}
    requests = [sites] if isinstance(sites, str) else list(sites)
    for request in requests:
        for entry, exit_ in _resolve(model, request, skipped):
            chosen.setdefault((entry, exit_), f"{entry} -> {exit_}" if entry else exit_)
    own_outputs = {exit_ for entry, exit_ in chosen if not entry}
    left = tuple((name, reason) for name, reason in skipped.items() if name not in own_outputs)
    if not chosen:
        raise NothingToGrow(", ".join(map(str, requests)), left)
    found = (
        Site(seed_id=f"s{index}", label=label, entry_module=entry, exit_module=exit_)
        for index, ((entry, exit_), label) in enumerate(chosen.items())
    )
    return SiteSurvey(tuple(found), left)


def refuse_hidden(model: nn.Module) -> None:
    """Refuse a model whose modules a hook would not reach, by the name of what hides them."""
    for module in model.modules():
        for kind in type(module).__mro__:
            if kind.__name__ in ADVICE and kind.__module__.startswith("torch."):
                raise ModelRefused(kind.__name__, ADVICE[kind.__name__])


def why_not(module: nn.Module) -> str | None:
    """Return why a glob skips *module*, or None if it can carry a seed."""
    if isinstance(module, GROWABLE):
        return None
    if isinstance(module, container.Sequential | container.ModuleList | container.ModuleDict) or any(module.children()):
        return "a container: name it exactly to grow at its output"
    if isinstance(module, batchnorm._NormBase | normalization.LayerNorm | normalization.GroupNorm):  # pyright: ignore[reportPrivateUsage]
        return "a normalisation layer"
    if isinstance(module, dropout._DropoutNd):  # pyright: ignore[reportPrivateUsage]
        return "a dropout layer"
    if type(module).__module__ in (instancenorm.__name__, normalization.__name__):
        return "a normalisation layer"
    if type(module).__module__ == pooling.__name__:
        return "a pooling layer"
    if type(module).__module__ == activation.__name__:
        return "an activation"
    return f"neither a linear nor a 2-d convolution layer ({type(module).__name__}): name it exactly to use it"


def names(model: nn.Module) -> tuple[str, ...]:
    """Return the dotted names of *model*'s modules, without the model itself."""
    return tuple(name for name, _ in _modules(model) if name)


def _resolve(model: nn.Module, request: SiteRequest, skipped: dict[str, str]) -> Iterator[tuple[str, str]]:
    if not isinstance(request, str):
        entry, exit_ = request
        yield _exact(model, entry), _exact(model, exit_)
    elif request == AUTO:
        layers = list(_growable(model, "*", skipped))
        yield from (("", name) for name in layers)
        if len(layers) > 1:
            yield layers[0], layers[-1]
    elif any(letter in request for letter in "*?["):
        yield from (("", name) for name in _growable(model, request, skipped))
    else:
        yield "", _exact(model, request)


def _growable(model: nn.Module, pattern: str, skipped: dict[str, str]) -> Iterator[str]:
    matching = [name for name in names(model) if fnmatchcase(name, pattern)]
    if not matching:
        raise NoSuchSite(pattern, names(model))
    inside_attention = tuple(
        f"{name}." for name, module in _modules(model) if isinstance(module, nn.MultiheadAttention)
    )
    for name in matching:
        also = _names_of(model, name)
        if len(also) > 1:
            reason = f"used as {' and as '.join(also)}"
        elif inside_attention and name.startswith(inside_attention):
            reason = "its attention layer reads its weights without calling it"
        else:
            reason = why_not(model.get_submodule(name))
        if reason is None:
            yield name
        else:
            skipped[name] = reason


def _exact(model: nn.Module, name: str) -> str:
    if name not in names(model):
        raise NoSuchSite(name, names(model))
    also = _names_of(model, name)
    if len(also) > 1:
        raise SharedModule(also)
    module = model.get_submodule(name)
    if isinstance(module, nn.ModuleList | nn.ModuleDict) or (isinstance(module, nn.Sequential) and not len(module)):
        raise SiteUnusable(name, "it is a list of modules, which computes nothing itself")
    return name


def _names_of(model: nn.Module, name: str) -> list[str]:
    wanted = model.get_submodule(name)
    return [other for other, module in _modules(model) if module is wanted]


def _modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    yield from cast("Iterator[tuple[str, nn.Module]]", model.named_modules(remove_duplicate=False))
