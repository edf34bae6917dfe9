"""Where in a model seeds may grow."""

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import cast

import msgspec
from torch import nn

from esper.kasmina.errors import ModelRefused, NoSuchSite, NothingToGrow, SharedModule, SiteUnusable
from esper.kasmina.layout import TIME_FIRST, layout_of
from esper.kasmina.proposals import TUPLES, propose, why_not
from esper.kasmina.requests import SiteRequest, SiteRequests, requests_of
from esper.leyline.v1.enums_pb2 import SiteKind
from esper.leyline.v1.site_pb2 import Site, SiteShape

AUTO = "auto"
NAMED, MATCHED = "named by you", "matches"
FIRST = ("0",)
ADVICE: Mapping[str, str] = {
    "DataParallel": "wrap its .module and train on one device",
    "DistributedDataParallel": "wrap its .module, on every rank, and give esper.attach the DistributedDataParallel",
    "FullyShardedDataParallel": "wrap the model before sharding; distributed training is not supported",
    "FSDPModule": "wrap the model before sharding; distributed training is not supported",
    "OptimizedModule": "wrap the model before torch.compile, with compiled=True",
    "ScriptModule": "wrap the Python module that was scripted",
}


class SiteSurvey(msgspec.Struct, frozen=True):
    """The sites that were chosen, best or first-named first, and why; and why other modules were not.

    *shapes* is what flows through the sites that were seen; *unusable* says what is wrong at others, by seed id.
    """

    chosen: tuple[Site, ...]
    skipped: tuple[tuple[str, str], ...]
    reasons: Mapping[str, str]
    shapes: Mapping[str, SiteShape] = {}
    unusable: Mapping[str, str] = {}

    def exact(self, seed_id: str) -> bool:
        """Tell whether the user named this very site, so that trouble with it is an error."""
        return self.reasons[seed_id] == NAMED

    def without(self, seed_ids: Mapping[str, str]) -> "SiteSurvey":
        """Leave sites out, each for its reason, and number the others anew."""
        kept = [site for site in self.chosen if site.seed_id not in seed_ids]
        left = tuple((site.label, seed_ids[site.seed_id]) for site in self.chosen if site.seed_id in seed_ids)
        return _numbered([(site, self.reasons[site.seed_id]) for site in kept], (*self.skipped, *left), self.shapes)

    def __str__(self) -> str:
        lines = [f"{len(self.chosen)} growth site{'' if len(self.chosen) == 1 else 's'}"]
        lines += [f"  {site.seed_id}  {site.label}{self._why(site)}" for site in self.chosen]
        lines += [f"  --  {name}: {reason}" for name, reason in self.skipped]
        return "\n".join(lines)

    def table(self) -> str:
        """Return a table of every place that was looked at: slot, place, what flows there, why or why not."""
        rows = [("slot", "site", "flows", "why")]
        for site in self.chosen:
            wrong = self.unusable.get(site.seed_id)
            why = f"cannot be used: {wrong}" if wrong else self.reasons[site.seed_id]
            rows.append((site.seed_id, site.label, _flow(self.shapes.get(site.seed_id)), why))
        rows += [("--", name, "", f"not chosen: {reason}") for name, reason in self.skipped]
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        return "\n".join(
            "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]).rstrip()
            for row in rows
        )

    def _why(self, site: Site) -> str:
        return "" if self.exact(site.seed_id) else f": {self.reasons[site.seed_id]}"


def survey(model: nn.Module, sites: SiteRequests = AUTO) -> SiteSurvey:
    """Choose growth sites of *model*: exact names, globs over dotted names, spans (entry, exit), `site(...)`, "auto".

    An exact name is always accepted. A glob chooses linear, convolution, recurrent and attention layers. "auto" ranks
    places (`proposals.py`) and takes the best. A span reads its entry's input and adds to its exit's output.

    Raises:
        ModelRefused: the model is wrapped in something that hides its modules.
        NoSuchSite: a name or glob matches no module.
        NothingToGrow: everything that matched was skipped.
        SharedModule: a module that was named exactly goes by several names.
        SiteUnusable: a module that was named exactly is a mere list of modules.
    """
    refuse_hidden(model)
    chosen: dict[str, tuple[Site, str]] = {}
    skipped: dict[str, str] = {}
    requests = requests_of(sites)
    for request in requests:
        for entry, exit_, why in _resolve(model, request, skipped):
            found = _site(model, request, entry, exit_)
            chosen.setdefault(found.label, (found, why))
    own_outputs = {site.exit_module for site, _ in chosen.values() if not site.entry_module}
    left = tuple((name, reason) for name, reason in skipped.items() if name not in own_outputs)
    if not chosen:
        raise NothingToGrow(", ".join(map(str, requests)), left)
    return _numbered([*chosen.values()], left, {})


def _site(model: nn.Module, request: SiteRequest, entry: str, exit_: str) -> Site:
    module = model.get_submodule(exit_)
    output = request.output or (FIRST if isinstance(module, TUPLES) else ())
    layout = request.layout or layout_of(model, exit_)
    if isinstance(module, nn.RNNBase) and output != FIRST and not request.layout:
        # The last states are (layers, batch, hidden), whatever batch_first says.
        layout = TIME_FIRST
    label = f"{entry} -> {exit_}" if entry else exit_
    return Site(
        label=label + "".join(f"[{key}]" for key in request.output),
        entry_module=entry,
        exit_module=exit_,
        output=output,
        layout=layout,
        input_layout=request.input_layout or (layout_of(model, entry) if entry else ""),
    )


def _numbered(
    chosen: list[tuple[Site, str]], skipped: tuple[tuple[str, str], ...], shapes: Mapping[str, SiteShape]
) -> SiteSurvey:
    sites: list[Site] = []
    reasons: dict[str, str] = {}
    kept: dict[str, SiteShape] = {}
    for index, (found, why) in enumerate(chosen):
        seed_id = f"s{index}"
        if found.seed_id in shapes:
            kept[seed_id] = shapes[found.seed_id]
        numbered = Site()
        numbered.CopyFrom(found)
        numbered.seed_id = seed_id
        sites.append(numbered)
        reasons[seed_id] = why
    return SiteSurvey(tuple(sites), skipped, reasons, kept)


def _flow(shape: SiteShape | None) -> str:
    if shape is None:
        return "not seen yet"
    kinds = [SiteKind.Name(kind).removeprefix("SITE_KIND_").lower() for kind in (shape.input_kind, shape.output_kind)]
    ends = [
        f"{kind} {'x'.join(map(str, size))}"
        for kind, size in zip(kinds, (shape.input_size, shape.output_size), strict=True)
    ]
    return ends[0] if ends[0] == ends[1] else " -> ".join(ends)


def refuse_hidden(model: nn.Module) -> None:
    """Refuse a model whose modules a hook would not reach, by the name of what hides them."""
    for module in model.modules():
        for kind in type(module).__mro__:
            if kind.__name__ in ADVICE and kind.__module__.startswith("torch."):
                raise ModelRefused(kind.__name__, ADVICE[kind.__name__])


def names(model: nn.Module) -> tuple[str, ...]:
    """Return the dotted names of *model*'s modules, without the model itself."""
    return tuple(name for name, _ in _modules(model) if name)


def _resolve(model: nn.Module, request: SiteRequest, skipped: dict[str, str]) -> Iterator[tuple[str, str, str]]:
    if not isinstance(request.where, str):
        entry, exit_ = request.where
        yield _exact(model, entry), _exact(model, exit_), NAMED
    elif request.where == AUTO:
        proposals = propose(model, _unfit_names(model, "*"))
        skipped.update(proposals.left)
        yield from ((place.entry, place.exit, place.why) for place in proposals.chosen)
    elif any(letter in request.where for letter in "*?["):
        yield from (("", name, f"{MATCHED} {request.where!r}") for name in _matching(model, request, skipped))
    else:
        yield "", _exact(model, request.where), NAMED


def _matching(model: nn.Module, request: SiteRequest, skipped: dict[str, str]) -> Iterator[str]:
    pattern = str(request.where)
    matching = [name for name in names(model) if fnmatchcase(name, pattern)]
    if not matching:
        raise NoSuchSite(pattern, names(model))
    unfit = _unfit_names(model, pattern)
    for name in matching:
        module = model.get_submodule(name)
        # Who says which element grows knows what the module returns.
        declared = request.output and not isinstance(module, nn.ModuleList | nn.ModuleDict)
        reason = unfit.get(name) or (None if declared else why_not(module))
        if reason is None:
            yield name
        else:
            skipped[name] = reason


def _unfit_names(model: nn.Module, pattern: str) -> dict[str, str]:
    """Return why modules whose names match *pattern* cannot carry a seed, whatever they compute."""
    inside_attention = tuple(
        f"{name}." for name, module in _modules(model) if isinstance(module, nn.MultiheadAttention)
    )
    found: dict[str, str] = {}
    for name in names(model):
        if not fnmatchcase(name, pattern):
            continue
        also = _names_of(model, name)
        if len(also) > 1:
            found[name] = f"used as {' and as '.join(also)}"
        elif inside_attention and name.startswith(inside_attention):
            found[name] = "its attention layer reads its weights without calling it"
    return found


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
