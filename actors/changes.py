"""What the log holds of each seed beyond what the model shows yet, and when it takes effect."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import takewhile
from typing import NamedTuple

import msgspec
from google.protobuf.message import Message

from esper.leyline.v1.seed_pb2 import GateEvaluated, SeedCommandRefused
from esper.leyline.v1.site_pb2 import Moment
from eventstore.store import Recorded


class Instant(NamedTuple):
    """A moment of a run that can be compared: the fence after a step comes before the one that ends its epoch."""

    step: int
    epoch: int

    @classmethod
    def of(cls, at: Moment) -> "Instant":
        """Return *at* as an instant."""
        return cls(at.step, at.epoch)


class Change(msgspec.Struct, frozen=True):
    """The acknowledged events of one decision about a seed, to be made true in the model at *effective*."""

    seed_id: str
    command_id: str
    events: tuple[Recorded, ...]
    effective: Instant

    @property
    def messages(self) -> tuple[Message, ...]:
        """The events themselves."""
        return tuple(recorded.event for recorded in self.events)

    @property
    def decided_for(self) -> Moment:
        """The moment that the decision was made for."""
        return moment_of(self.events)

    @property
    def moves(self) -> bool:
        """Whether it does more than state a verdict or a refusal."""
        return any(not isinstance(event, GateEvaluated | SeedCommandRefused) for event in self.messages)


def moment_of(events: Sequence[Recorded]) -> Moment:
    """Return when the decision that made *events* was to take effect."""
    return getattr(events[-1].event, "at", Moment())


class Backlog:
    """Per seed, the changes that are recorded and that the model does not show yet, in the order of its stream.

    A seed's changes are shown in that order, without a gap: so what the model shows is always a prefix of the log.
    """

    def __init__(self) -> None:
        self._shown: dict[str, int] = {}
        self._waiting: dict[str, list[Change]] = {}

    def begin(self, seed_id: str, version: int) -> None:
        """Note that the model shows the seed's stream up to *version*."""
        self._shown[seed_id], self._waiting[seed_id] = version, []

    def known(self, seed_id: str) -> int:
        """Return the version up to which the seed's stream was learnt."""
        waiting = self._waiting[seed_id]
        return waiting[-1].events[-1].version if waiting else self._shown[seed_id]

    def learn(self, seed_id: str, events: Iterable[Recorded], deferred: Mapping[str, Instant]) -> None:
        """Take in *events* of the seed's stream; those known already change nothing.

        *deferred* names by command id the changes that took effect later than they were decided for.
        """
        commits: dict[str, list[Recorded]] = {}
        for recorded in events:
            if recorded.version > self.known(seed_id):
                commits.setdefault(recorded.context.command_id, []).append(recorded)
        for command_id, commit in commits.items():
            effective = deferred.get(command_id, Instant.of(moment_of(commit)))
            self._waiting[seed_id].append(Change(seed_id, command_id, tuple(commit), effective))

    def waits(self, seed_id: str) -> bool:
        """Whether the log is ahead of the model for this seed."""
        return bool(self._waiting[seed_id])

    def waiting(self) -> list[Change]:
        """Return everything that waits, in the log's order."""
        return _in_log_order(change for waiting in self._waiting.values() for change in waiting)

    def due(self, now: Instant) -> list[Change]:
        """Return what takes effect at *now* exactly, in the log's order, and what moves nothing and lies before it.

        A refusal may be recorded after later changes of its seed; it must not hold up those that follow it.
        """
        return self._first(lambda change: change.effective == now or (change.effective < now and not change.moves))

    def overdue(self, now: Instant) -> list[Change]:
        """Return what takes effect at *now* or should have done so before, in the log's order."""
        return self._first(lambda change: change.effective <= now)

    def show(self, change: Change) -> None:
        """Note that the model now shows *change*, the first that waited for its seed."""
        self._waiting[change.seed_id].remove(change)
        self._shown[change.seed_id] = change.events[-1].version

    def taken(self, seed_id: str, version: int) -> list[Change]:
        """Return, as shown, what waited for the seed up to *version* of its stream."""
        taken = [change for change in self._waiting[seed_id] if change.events[0].version <= version]
        for change in taken:
            self.show(change)
        return taken

    def _first(self, taken: Callable[[Change], bool]) -> list[Change]:
        return _in_log_order(change for waiting in self._waiting.values() for change in takewhile(taken, list(waiting)))


def _in_log_order(changes: Iterable[Change]) -> list[Change]:
    return sorted(changes, key=lambda change: change.events[0].position)
