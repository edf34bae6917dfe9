"""Giving a model its growth sites."""

import sys
from collections.abc import Mapping
from typing import Literal, TypeVar

import msgspec
from torch import nn

from esper.api.errors import HostMismatch, NotWrapped
from esper.kasmina.doorway import compiled_parts, declare
from esper.kasmina.errors import AlreadyWrapped, CompiledHost, NothingToGrow
from esper.kasmina.glance import look
from esper.kasmina.requests import SiteRequests
from esper.kasmina.sites import AUTO, NAMED, SiteSurvey, names, survey
from esper.kasmina.slot import Slot
from esper.leyline.v1.site_pb2 import Site, SiteShape

Model = TypeVar("Model", bound=nn.Module)

# A plain attribute of the model, neither module nor parameter: state_dict and parameters() do not see it.
SURVEY = "_esper_survey"
FAST = "fast"


def wrap(
    model: Model, sites: SiteRequests = AUTO, *, probe: object = None, compiled: bool | Literal["fast"] = False
) -> Model:
    """Mark where *model* may grow, and return the same object; prints the sites, and why other modules are none.

    *sites* is a list of module names, globs over dotted names ("features.*"), spans ("conv1", "head") and
    `esper.site(...)`, which says more: a span reads the first module's input and adds to the second one's output.
    "auto" ranks the places where growing pays and takes the best. *probe* is one batch, as the model is called with
    it: a tensor, a tuple of arguments or a dictionary of named ones; with it, what flows through every site is known
    at once, and wrong sites are told before the training begins. Without it, the first training pass tells.

    *compiled* keeps the sites open in a model that you give to torch.compile afterwards: each is a graph break, and
    nothing that grows there ever recompiles the model. With "fast", a model in which nothing lives and nobody looks
    runs the bare model's code instead: give `attach` what torch.compile returned. The two are compiled apart, so that
    the last bits of the host, and its dropout masks, may change when a seed comes or goes (`docs/growing.md`). Nothing
    else of the model changes: no hook, no submodule, no parameter.

    Raises:
        AlreadyWrapped: the model has its sites already.
        NoSuchSite: a name or glob matches no module; the error lists those there are.
        NothingToGrow, SharedModule, SiteUnusable, ModelRefused, CompiledHost: see their messages.
    """
    if SURVEY in model.__dict__:
        raise AlreadyWrapped(type(model).__name__)
    found = survey(model, sites)
    refuse_compiled(model, bool(compiled))
    if probe is not None:
        found = _probed(model, found, probe)
    if compiled:
        declare(
            model,
            {site.exit_module for site in found.chosen},
            {site.entry_module for site in found.chosen if site.entry_module},
            fast=compiled == FAST,
        )
    model.__dict__[SURVEY] = found
    sys.stdout.write(f"{type(model).__name__}: {found}\n")
    return model


def sites_report(model: nn.Module) -> str:
    """Return a table of the places in *model*: which are growth sites, what flows there, and why the others are none.

    Raises:
        NotWrapped: it was not wrapped.
    """
    return survey_of(model).table()


def refuse_compiled(model: nn.Module, declared_sites: bool) -> None:
    """Refuse a model on which `.compile()` was called, unless its sites are declared.

    Raises:
        CompiledHost: names what is compiled.
    """
    parts = compiled_parts(model)
    if parts and not declared_sites:
        raise CompiledHost(parts[0])


def note(model: nn.Module, shapes: Mapping[str, SiteShape], unusable: Mapping[str, str]) -> None:
    """Write what a session has learned about the sites of *model* into its survey."""
    model.__dict__[SURVEY] = msgspec.structs.replace(survey_of(model), shapes=dict(shapes), unusable=dict(unusable))


def _probed(model: nn.Module, found: SiteSurvey, probe: object) -> SiteSurvey:
    slots = [Slot(site, model) for site in found.chosen]
    refusals = look(model, slots, probe)
    for seed_id, refusal in refusals.items():
        if found.exact(seed_id):
            raise refusal
    shapes = {slot.site.seed_id: slot.shape for slot in slots if slot.shape is not None}
    known = msgspec.structs.replace(found, shapes=shapes)
    left = known.without({seed_id: refusal.reason for seed_id, refusal in refusals.items()})
    if not left.chosen:
        raise NothingToGrow("the sites", left.skipped)
    return left


def wrap_as(model: nn.Module, sites: tuple[Site, ...]) -> bool:
    """Give *model* exactly *sites*, if it was not wrapped yet; say whether it was done here.

    Raises:
        HostMismatch: the model has other sites, or lacks a module that one of them names.
    """
    if SURVEY in model.__dict__:
        if wrapped_sites(model) != sites:
            then, now = ([site.label for site in found] for found in (sites, wrapped_sites(model)))
            raise HostMismatch("the list of sites", str(then), str(now))
        return False
    modules = set(names(model))
    for site in sites:
        for name in (site.entry_module, site.exit_module):
            if name and name not in modules:
                raise HostMismatch(f"module {name}", "a growth site's", "not there")
    model.__dict__[SURVEY] = SiteSurvey(sites, (), {site.seed_id: NAMED for site in sites})
    return True


def survey_of(model: nn.Module) -> SiteSurvey:
    """Return what `wrap` found in *model*.

    Raises:
        NotWrapped: it was not wrapped.
    """
    found = model.__dict__.get(SURVEY)
    if not isinstance(found, SiteSurvey):
        raise NotWrapped
    return found


def wrapped_sites(model: nn.Module) -> tuple[Site, ...]:
    """Return the growth sites of *model*, in order.

    Raises:
        NotWrapped: it was not wrapped.
    """
    return survey_of(model).chosen
