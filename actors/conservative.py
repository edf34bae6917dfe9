"""Conservative mode: when the fabric cannot keep up, what matters least is left out until it can again.

at ease ── a reader is too far behind, or a critical breaker is open ─→ conservative
        ←── no reader far behind and no such breaker open, for a while ──
"""

from typing import assert_never

import msgspec

from esper.leyline.decider import Decider
from esper.leyline.v1.fabric_pb2 import ConservativeModeEntered, ConservativeModeLeft, ObserveFabric

ModeEvent = ConservativeModeEntered | ConservativeModeLeft


class Mode(msgspec.Struct, frozen=True):
    """How the fabric stands: a fold of its changes."""

    conservative: bool = False
    reason: str = ""
    since_ns: int = 0
    times: int = 0


def calls_for_it(observed: ObserveFabric) -> bool:
    """Whether *observed* keeps the fabric conservative once it is: nothing calm can be counted while it lasts."""
    return observed.depth > observed.recover_depth or bool(observed.open_breakers)


def decide(mode: Mode, observed: ObserveFabric) -> list[ModeEvent]:
    """Answer what was observed with the change it causes, if any."""
    if mode.conservative:
        return [] if calls_for_it(observed) or observed.calm_for_s < observed.calm_needed_s else [_left(observed)]
    reasons = [f"breaker {name} is open" for name in observed.open_breakers]
    if observed.depth >= observed.enter_depth:
        reasons.insert(0, f"{observed.deepest} is {observed.depth:,} messages behind")
    if not reasons:
        return []
    return [
        ConservativeModeEntered(
            reason="; ".join(reasons),
            depth=observed.depth,
            deepest=observed.deepest,
            entered_at_ns=observed.observed_at_ns,
        )
    ]


def evolve(mode: Mode, event: ModeEvent) -> Mode:
    """Fold one recorded change into *mode*."""
    match event:
        case ConservativeModeEntered(reason=reason, entered_at_ns=since_ns):
            return Mode(conservative=True, reason=reason, since_ns=since_ns, times=mode.times + 1)
        case ConservativeModeLeft(reason=reason, left_at_ns=since_ns):
            return Mode(conservative=False, reason=reason, since_ns=since_ns, times=mode.times)
        case _:
            assert_never(event)


MODE: Decider[Mode, ObserveFabric, ModeEvent] = Decider("ConservativeMode", Mode(), decide, evolve)


def _left(observed: ObserveFabric) -> ConservativeModeLeft:
    reason = f"no reader was more than {observed.recover_depth:,} messages behind for {observed.calm_for_s:.0f} s"
    return ConservativeModeLeft(reason=reason, depth=observed.depth, left_at_ns=observed.observed_at_ns)
