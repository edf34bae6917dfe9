"""Which actors there are, and where each is found."""

from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import cast

import msgspec

from actors.place import Log, Place

RunActor = Callable[[Log, Place], Awaitable[None]]


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One actor: its name and the coroutine function that is the actor, imported only where it runs.

    `aggregate_id` names the stream of its starts and its user of the server; `readers` are its durable queues; `serves`
    is the subject on which it must answer before it counts as ready; `needs_disk` and `needs_server` keep it from a log
    in memory.
    """

    name: str
    module: str
    function: str
    aggregate_id: str
    readers: frozenset[str] = frozenset()
    serves: str = ""
    needs_disk: bool = False
    needs_server: bool = False

    def load(self) -> RunActor:
        """Return the coroutine function; it works until it is cancelled."""
        return cast(RunActor, getattr(import_module(self.module), self.function))


# In the order in which they are told to stop: those that ask others first.
ROSTER = (
    Entry(
        name="librarian",
        module="actors.urza",
        function="run_librarian",
        aggregate_id="urza",
        readers=frozenset({"urza", "urza-compiled"}),
    ),
    Entry(
        name="forge",
        module="actors.tezzeret",
        function="run_forge",
        aggregate_id="tezzeret",
        readers=frozenset({"tezzeret"}),
    ),
    Entry(
        name="warden",
        module="actors.warden",
        function="run_warden",
        aggregate_id="warden",
        readers=frozenset({"warden", "dead-letters", "warden-breakers"}),
        needs_server=True,
    ),
    Entry(
        name="projector",
        module="actors.projector",
        function="run_stack_projector",
        aggregate_id="projector",
        readers=frozenset({"telemetry"}),
        serves="esper.qry.projections",
        needs_disk=True,
    ),
)


def entry(name: str) -> Entry:
    """Return the entry called *name*.

    Raises:
        ValueError: there is none; names those there are.
    """
    for candidate in ROSTER:
        if candidate.name == name:
            return candidate
    raise ValueError(f"no actor {name!r}: there are {', '.join(known.name for known in ROSTER)}")
