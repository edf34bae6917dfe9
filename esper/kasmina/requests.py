"""What a user asks for: places in a model, and how to read what flows there."""

from collections.abc import Sequence
from typing import TypeAlias

import msgspec

from esper.kasmina.errors import LayoutUnknown
from esper.kasmina.layout import is_layout

Key: TypeAlias = int | str


class SiteRequest(msgspec.Struct, frozen=True):
    """Modules by name or glob, or a span between two; which element of the output grows; the order of dimensions."""

    where: str | tuple[str, str]
    output: tuple[str, ...] = ()
    layout: str = ""
    input_layout: str = ""

    def __str__(self) -> str:
        return self.where if isinstance(self.where, str) else " -> ".join(self.where)


# "features.3", "features.*", ("conv1", "head"), "auto", or site(...), alone or several in a list.
SiteAsked: TypeAlias = str | tuple[str, str] | SiteRequest
SiteRequests: TypeAlias = SiteAsked | Sequence[SiteAsked]


def site(
    where: str | tuple[str, str],
    *,
    output: Key | Sequence[Key] = (),
    layout: str = "",
    input_layout: str = "",
) -> SiteRequest:
    """Ask for a growth site and say what plain names cannot.

    *where* is a module's name, a glob, or a span ("entry", "exit"). *output* says which element of the output grows,
    where that is a tuple, a dictionary or a dataclass: `output=0`, `output="hidden_states"`, or a way in,
    `output=(1, 0)`. *layout* is the order of the dimensions there: "TBC" is time, sample, channel; letters are B
    sample, T time or position, C channel, H height, W width. *input_layout* is the same for what a span reads.

    Left out: element 0 of recurrent and attention layers; the layout that torch.nn's own layers have, else BC, BTC or
    BCHW by the number of dimensions.

    Raises:
        LayoutUnknown: the letters do not name each dimension of a vector, a sequence or an image once.
    """
    for order in (layout, input_layout):
        if order and not is_layout(order):
            raise LayoutUnknown(order)
    path = (output,) if isinstance(output, int | str) else tuple(output)
    return SiteRequest(where, tuple(map(str, path)), layout, input_layout)


def requests_of(sites: SiteRequests) -> list[SiteRequest]:
    """Return what was asked for, one by one."""
    if isinstance(sites, str | SiteRequest):
        return [_request(sites)]
    return [_request(asked) for asked in sites]


def _request(asked: SiteAsked) -> SiteRequest:
    return asked if isinstance(asked, SiteRequest) else SiteRequest(asked)
