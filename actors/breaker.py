"""When to stop asking something that keeps failing, and how to begin again: one set of rules for every path.

closed ── N failures in a row ─→ open ── its time is over ─→ half-open ── K successes ─→ closed
                                  ↑                              │
                                  └────────── any failure ───────┘

A success in between clears the count of failures. What is refused while open is no failure, and neither is what was
cancelled or shed.
"""

from typing import TypeAlias, assert_never

import msgspec

from esper.leyline.decider import Decider
from esper.leyline.v1.enums_pb2 import CircuitBreakerState as State
from esper.leyline.v1.fabric_pb2 import BreakerStateChanged, ForceBreaker, ObserveBreaker

BreakerCommand: TypeAlias = ObserveBreaker | ForceBreaker


class BreakerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a breaker opens, for how long, and how many successes of as many probes at once close it again."""

    failures_to_open: int = 3
    open_s: float = 30.0
    successes_to_close: int = 5


class BreakerState(msgspec.Struct, frozen=True):
    """How a breaker stands: a fold of its changes."""

    state: State = State.CIRCUIT_STATE_CLOSED
    open_until_ns: int = 0
    trips: int = 0
    # For how long it was opened, whatever the wall clock has done since; 0 unless it is open.
    open_s: float = 0.0


def decide(breaker: BreakerState, command: BreakerCommand) -> list[BreakerStateChanged]:
    """Answer what was seen with the change it causes, if any."""
    match command:
        case ForceBreaker():
            return _forced(breaker, command)
        case ObserveBreaker():
            return _observed(breaker, command)
        case _:
            assert_never(command)


def evolve(breaker: BreakerState, event: BreakerStateChanged) -> BreakerState:
    """Fold one change into *breaker*."""
    opened = event.to_state == State.CIRCUIT_STATE_OPEN
    open_s = (event.open_until_ns - event.changed_at_ns) / 1e9 if opened else 0.0
    return BreakerState(event.to_state, event.open_until_ns, breaker.trips + opened, open_s)


BREAKER: Decider[BreakerState, BreakerCommand, BreakerStateChanged] = Decider("Breaker", BreakerState(), decide, evolve)


def _observed(breaker: BreakerState, seen: ObserveBreaker) -> list[BreakerStateChanged]:
    if breaker.state == State.CIRCUIT_STATE_OPEN:
        if seen.open_for_s < seen.open_s:
            return []
        return [_change(breaker, State.CIRCUIT_STATE_HALF_OPEN, f"open for {seen.open_s:g} s", seen.observed_at_ns)]
    if breaker.state == State.CIRCUIT_STATE_HALF_OPEN and seen.failures_in_a_row:
        return [_opened(breaker, f"a probe failed: {seen.last_failure}", seen)]
    if breaker.state == State.CIRCUIT_STATE_HALF_OPEN and seen.successes >= seen.successes_to_close:
        reason = f"{seen.successes} probes succeeded"
        return [_change(breaker, State.CIRCUIT_STATE_CLOSED, reason, seen.observed_at_ns)]
    if breaker.state == State.CIRCUIT_STATE_CLOSED and seen.failures_in_a_row >= seen.failures_to_open:
        return [_opened(breaker, f"{seen.failures_in_a_row} failures in a row, the last: {seen.last_failure}", seen)]
    return []


def _forced(breaker: BreakerState, command: ForceBreaker) -> list[BreakerStateChanged]:
    if command.state in (State.CIRCUIT_STATE_UNKNOWN, breaker.state):
        return []
    reason = f"forced by {command.by}: {command.reason}"
    change = _change(breaker, command.state, reason, command.forced_at_ns)
    if command.state == State.CIRCUIT_STATE_OPEN:
        change.open_until_ns = command.forced_at_ns + round(command.open_s * 1e9)
    return [change]


def _opened(breaker: BreakerState, reason: str, seen: ObserveBreaker) -> BreakerStateChanged:
    change = _change(breaker, State.CIRCUIT_STATE_OPEN, reason, seen.observed_at_ns)
    change.failure_count = seen.failures_in_a_row
    change.open_until_ns = seen.observed_at_ns + round(seen.open_s * 1e9)
    return change


def _change(breaker: BreakerState, to_state: State, reason: str, at_ns: int) -> BreakerStateChanged:
    return BreakerStateChanged(from_state=breaker.state, to_state=to_state, reason=reason, changed_at_ns=at_ns)
