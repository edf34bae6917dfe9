"""An aggregate as two pure functions."""

from collections.abc import Callable, Iterable
from functools import reduce
from typing import Generic, TypeVar

import msgspec

State = TypeVar("State")
Command = TypeVar("Command")
Event = TypeVar("Event")


class RuleBroken(Exception):
    """A command that the aggregate's state forbids; the message names both, and nothing happened."""


class Decider(msgspec.Struct, Generic[State, Command, Event], frozen=True):
    """How one kind of aggregate answers commands and what its events mean.

    `decide` may refuse with a `RuleBroken`; `evolve` is total, because history is never refused. Neither reads a
    clock, a random source, a device or a file: such facts arrive inside the command.
    """

    name: str
    initial: State
    decide: Callable[[State, Command], list[Event]]
    evolve: Callable[[State, Event], State]

    def fold(self, events: Iterable[Event], state: State | None = None) -> State:
        """Return the state after *events*, from the beginning or from *state*."""
        return reduce(self.evolve, events, self.initial if state is None else state)
