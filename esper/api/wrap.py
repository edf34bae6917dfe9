"""Giving a model its growth sites."""

import sys
from typing import TypeVar

from torch import nn

from esper.api.errors import HostMismatch, NotWrapped
from esper.kasmina.errors import AlreadyWrapped
from esper.kasmina.sites import AUTO, SiteRequests, SiteSurvey, names, survey
from esper.leyline.v1.site_pb2 import Site

Model = TypeVar("Model", bound=nn.Module)

# A plain attribute of the model, neither module nor parameter: state_dict and parameters() do not see it.
SURVEY = "_esper_survey"


def wrap(model: Model, sites: SiteRequests = AUTO) -> Model:
    """Mark where *model* may grow, and return the same object; prints the sites, and why other modules are none.

    *sites* is a list of module names, globs over dotted names ("features.*") and spans ("conv1", "head"): a span
    reads the first module's input and adds to the second one's output. "auto" takes the linear and 2-d convolution
    layers and a span over all of them. Nothing of the model changes: no hook, no submodule, no parameter.

    Raises:
        AlreadyWrapped: the model has its sites already.
        NoSuchSite: a name or glob matches no module; the error lists those there are.
        NothingToGrow, SharedModule, SiteUnusable, ModelRefused: see their messages.
    """
    if SURVEY in model.__dict__:
        raise AlreadyWrapped(type(model).__name__)
    found = survey(model, sites)
    model.__dict__[SURVEY] = found
    sys.stdout.write(f"{type(model).__name__}: {found}\n")
    return model


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
    model.__dict__[SURVEY] = SiteSurvey(sites, ())
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
