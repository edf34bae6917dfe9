"""What a journey needs to know of a host: how it is built, where it grows, and what it is trained on."""

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor, nn

from esper.kasmina.requests import SiteAsked


class Batch(NamedTuple):
    """The arguments of one forward pass, and what should come out of it."""

    inputs: tuple[Tensor, ...]
    targets: Tensor


class Grown(NamedTuple):
    """A place in a host and what is germinated there."""

    site: SiteAsked
    label: str
    blueprint_id: str


class Host(NamedTuple):
    """A host of the zoo. A seed is kept at *kept*; the one at *culled* is removed while it is blended in."""

    build: Callable[[], nn.Module]
    kept: Grown
    culled: Grown
    data: Callable[[], Batch]
    loss: Callable[[Any, Tensor], Tensor]
    kill_at_step: int
    learning_rate: float = 3e-3
    compiled: bool = False
    # What `unwrap` or `bake` refuses, as it says so, and what the author then does; empty where nothing is refused.
    refused: str = ""
    instead: Callable[[nn.Module], None] | None = None
