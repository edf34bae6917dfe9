"""Load, decide, append: the only place a domain event is born."""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Any, Generic, TypeVar, cast

import msgspec
from google.protobuf.message import Message

from actors.snapshotting import folding_of
from actors.tracing import current_traceparent, span
from esper.leyline.decider import Decider, RuleBroken
from eventstore.commit import commit_id
from eventstore.errors import StreamMovedOn
from eventstore.snapshot import Snapshot, Snapshots
from eventstore.store import Appended, Context, EventStore, Recorded, StreamName

State = TypeVar("State")
Command = TypeVar("Command")

DECISIONS_AT_MOST = 5
STREAMS_HELD_AT_MOST = 1024


class Held(msgspec.Struct, Generic[State], frozen=True):
    """A stream folded up to *version*; *commits* tells at which version each of its commits begins."""

    state: State
    version: int
    commits: dict[str, int]


class AggregateCache:
    """The folds of the streams used last, so that a decision need not read its aggregate's whole history.

    A cached fold may be behind the log; `dispatch` finds that out when it appends, and catches up. With *snapshots*, a
    stream that is not held is read on from its newest one that the log bears out, and a long catching up leaves one.
    """

    def __init__(self, capacity: int = STREAMS_HELD_AT_MOST, *, snapshots: Snapshots | None = None) -> None:
        self._held: OrderedDict[StreamName, Held[Any]] = OrderedDict()
        self._capacity = capacity
        self._snapshots = snapshots

    def get(self, decider: Decider[State, Any, Any], stream: StreamName) -> Held[State] | None:
        """Return the fold of *stream* as last seen, or None if it is not held."""
        if stream not in self._held:
            return None
        self._held.move_to_end(stream)
        return cast("Held[State]", self._held[stream])

    async def caught_up(self, store: EventStore, decider: Decider[State, Any, Any], stream: StreamName) -> Held[State]:
        """Return the fold of *stream* with everything that the log holds by now."""
        folding = folding_of(decider) if self._snapshots else None
        held = self.get(decider, stream)
        if held is None and self._snapshots and folding:
            held = _thawed(await self._snapshots.load(store, stream, folding))
        held = held or Held(decider.initial, 0, {})
        now = self.extended(decider, stream, held, await store.read_stream(stream, after_version=held.version))
        if self._snapshots and folding and now.version - held.version >= self._snapshots.every:
            await self._snapshots.keep(store, stream, folding, now.state, now.version)
        return now

    def extended(
        self,
        decider: Decider[State, Any, Any],
        stream: StreamName,
        held: Held[State],
        events: Iterable[Recorded],
    ) -> Held[State]:
        """Keep *held* with *events* folded in, and return it; events it already contains change nothing."""
        state, version, commits = held.state, held.version, held.commits
        for recorded in events:
            if recorded.version == version + 1:
                state, version = decider.evolve(state, recorded.event), recorded.version
                commits.setdefault(recorded.commit_id, version)
        current = self._held.get(stream)
        if current is not None and current.version > version:
            return cast("Held[State]", current)
        now = self._held[stream] = Held(state, version, commits)
        self._held.move_to_end(stream)
        if len(self._held) > self._capacity:
            self._held.popitem(last=False)
        return now


def _thawed(snapshot: Snapshot[State] | None) -> Held[State] | None:
    if snapshot is None:
        return None
    commits = {commit: first_version for commit, (_, first_version) in snapshot.mark.commits.items()}
    return Held(snapshot.state, snapshot.mark.version, commits)


async def load(store: EventStore, decider: Decider[State, Any, Any], stream: StreamName) -> tuple[State, int]:
    """Return the state of *stream* and its version (0 if it is new)."""
    held = await AggregateCache().caught_up(store, decider, stream)
    return held.state, held.version


async def dispatch(
    store: EventStore,
    decider: Decider[State, Command, Any],
    stream: StreamName,
    command: Command,
    context: Context,
    *,
    cache: AggregateCache | None = None,
) -> Appended | None:
    """Answer *command*: return the events it caused, or None if there was nothing to record.

    A command whose id was answered before is not decided again: its recorded events come back with
    `duplicate=True`. If another writer was first, the command is decided anew upon the real state.

    Raises:
        RuleBroken: the aggregate's present state forbids the command.
        StreamMovedOn: other writers were first five times in a row.
        StoreUnavailable: not known whether the events were recorded; dispatch the same command id again.
    """
    cache = AggregateCache() if cache is None else cache
    attributes = {"esper.stream": str(stream), "esper.command": context.command_type, "esper.run": context.run_id}
    with span(f"decide {decider.name}", traceparent=context.traceparent, attributes=attributes) as opened:
        if not context.traceparent:
            context = msgspec.structs.replace(context, traceparent=current_traceparent())
        for attempt in range(1, DECISIONS_AT_MOST + 1):
            try:
                appended = await _decide_once(store, decider, stream, command, context, cache)
            except StreamMovedOn:
                if attempt == DECISIONS_AT_MOST:
                    raise
                await cache.caught_up(store, decider, stream)
            else:
                if appended is not None:
                    opened.set_attribute("esper.position", appended.position)
                return appended
    raise AssertionError("unreachable: the last attempt returns or raises")


async def _decide_once(
    store: EventStore,
    decider: Decider[State, Command, Any],
    stream: StreamName,
    command: Command,
    context: Context,
    cache: AggregateCache,
) -> Appended | None:
    commit = commit_id(stream, context.command_id)
    held = cache.get(decider, stream)
    events: list[Message] = []
    if held is not None and commit not in held.commits:
        # A fold that is behind may only ever accept: a refusal or "nothing to do" is given after a fresh look.
        try:
            events = decider.decide(held.state, command)
        except RuleBroken:
            events = []
    if held is None or not events:
        held = await cache.caught_up(store, decider, stream)
        if commit in held.commits:
            return await _recorded(store, stream, commit, held.commits[commit])
        events = decider.decide(held.state, command)
    if not events:
        return None
    with span("append", attributes={"messaging.destination.name": str(stream)}):
        appended = await store.append(stream, events, expected=held.version, context=context)
    cache.extended(decider, stream, held, appended.events)
    return appended


async def _recorded(store: EventStore, stream: StreamName, commit: str, first_version: int) -> Appended:
    """Return what *commit* holds, as it was recorded."""
    later = await store.read_stream(stream, after_version=first_version - 1)
    return Appended(tuple(event for event in later if event.commit_id == commit), duplicate=True)
