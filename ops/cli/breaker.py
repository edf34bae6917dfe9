"""`esper breaker list|force`: which paths are left alone because they kept failing, and an operator's word on it."""

import getpass
from random import SystemRandom
from typing import Literal

import msgspec

from actors.breaker import BREAKER
from actors.clock import SystemClock
from actors.dispatch import dispatch
from actors.guarded import PATHS
from actors.ids import new_id
from actors.projector import BREAKER_NAME
from actors.roster import ROSTER
from esper.leyline.v1.enums_pb2 import CircuitBreakerState as State
from esper.leyline.v1.fabric_pb2 import BreakerStateChanged, ForceBreaker
from eventstore.store import Context, EventStore, StreamName
from ops.cli.chronicle import wall_time
from ops.cli.errors import CommandFailed
from ops.cli.log import OPERATOR, open_log
from ops.cli.options import DEFAULTS, Options
from ops.cli.output import print_json, print_table, say

Word = Literal["open", "closed", "half-open"]
STATES: dict[Word, State] = {
    "open": State.CIRCUIT_STATE_OPEN,
    "closed": State.CIRCUIT_STATE_CLOSED,
    "half-open": State.CIRCUIT_STATE_HALF_OPEN,
}


NAMES = (*(f"{actor.aggregate_id}-{path}" for actor in ROSTER for path in PATHS), BREAKER_NAME)


class BreakerRow(msgspec.Struct, frozen=True, kw_only=True):
    """One breaker as the log has it; one that never changed is closed. `until` is when an open one begins to probe."""

    name: str
    state: str
    since: str
    until: str
    trips: int
    reason: str


async def list_breakers(*, options: Options = DEFAULTS) -> None:
    """List the breakers of the stack's actors as the log has them."""
    async with open_log(options) as log:
        rows = [await _row(log.store, name) for name in NAMES]
    if options.json:
        print_json(rows)
        return
    print_table(BreakerRow.__struct_fields__, [tuple(map(str, msgspec.structs.astuple(row))) for row in rows])


async def force(name: str, state: Word, *, reason: str, seconds: float = 300.0, options: Options = DEFAULTS) -> None:
    """Open or close a breaker by hand; recorded, and taken up by its actor within a second or at its next call.

    It holds until what the actor meets says otherwise: a forced breaker still opens, probes and closes by itself.

    Args:
        name: The breaker, as `esper breaker list` shows it: projector-query, urza-publish.
        state: What it is to be.
        reason: Why; recorded with the change.
        seconds: For how long it is to be open, before it probes.
    """
    clock = SystemClock()
    command = ForceBreaker(
        state=STATES[state],
        by=getpass.getuser(),
        reason=reason,
        open_s=seconds,
        forced_at_ns=clock.now_ns(),
    )
    context = Context(
        command_id=new_id(clock, SystemRandom()),
        command_type=ForceBreaker.DESCRIPTOR.full_name,
        recorded_at_ns=clock.now_ns(),
        actor="operator",
    )
    if name not in NAMES:
        raise CommandFailed(f"no breaker {name!r}: there are {', '.join(NAMES)}")
    async with open_log(options, OPERATOR) as log:
        changed = await dispatch(log.store, BREAKER, StreamName("breaker", name), command, context)
    if options.json:
        print_json([{"name": name, "state": state, "changed": changed is not None}])
    else:
        say(f"{name} is {state} now" if changed else f"{name} was {state} already")


async def _row(store: EventStore, name: str) -> BreakerRow:
    changes = await store.read_stream(StreamName("breaker", name))
    events = [change.event for change in changes if isinstance(change.event, BreakerStateChanged)]
    now = BREAKER.fold(events)
    return BreakerRow(
        name=name,
        state=next(word for word, state in STATES.items() if state == now.state),
        since=wall_time(changes[-1].context.recorded_at_ns) if changes else "",
        until=wall_time(now.open_until_ns) if now.state == State.CIRCUIT_STATE_OPEN else "",
        trips=now.trips,
        reason=events[-1].reason if events else "",
    )
