"""Under how much pressure the fabric is, and what telemetry it takes then. Pure; only telemetry is ever refused."""

from collections.abc import Mapping

import msgspec

from esper.leyline.v1.enums_pb2 import MessagePriority as Priority

LOW, NORMAL = Priority.MESSAGE_PRIORITY_LOW, Priority.MESSAGE_PRIORITY_NORMAL
HIGH, CRITICAL = Priority.MESSAGE_PRIORITY_HIGH, Priority.MESSAGE_PRIORITY_CRITICAL
EMERGENCY = Priority.MESSAGE_PRIORITY_EMERGENCY

# Up to this utilisation, so much pressure; linear in between.
CURVE = ((0.50, 0.0), (0.75, 0.5), (0.90, 0.8), (1.0, 1.0))
# A priority is refused from this pressure on.
THROTTLED_AT: Mapping[int, float] = {LOW: 0.40, NORMAL: 0.60, HIGH: 0.80, CRITICAL: 0.95}
# How much of a publisher's queue a priority may find taken.
SHARE: Mapping[int, float] = {LOW: 0.50, NORMAL: 0.75, HIGH: 0.85, CRITICAL: 0.95}


class FabricLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far behind a reader may fall. Depth is what it was not given yet, plus what it was and has not settled.

    From `enter_depth` on the fabric is conservative, until no reader was more than `recover_depth` behind for `calm_s`.
    From `shed_depth` on low and normal telemetry is shed; `cap_depth` is full pressure. Depth is sampled each
    `sample_s`.
    """

    enter_depth: int = 4_000
    recover_depth: int = 1_000
    shed_depth: int = 8_000
    cap_depth: int = 10_000
    calm_s: float = 60.0
    sample_s: float = 1.0


class Factors(msgspec.Struct, frozen=True, kw_only=True):
    """By what the fabric's settings are multiplied in a mode."""

    batch: float = 1.0
    depth_limit: float = 1.0
    timeouts: float = 1.0


AT_EASE = Factors()
CONSERVATIVE = Factors(batch=0.5, depth_limit=0.7, timeouts=1.5)


def factors(conservative: bool) -> Factors:
    """Return the factors of the mode."""
    return CONSERVATIVE if conservative else AT_EASE


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What decides about a telemetry message: how deep the deepest queue is, and how full the publisher's own."""

    depth: int
    waiting: int
    capacity: int
    conservative: bool = False


def pressure(utilisation: float) -> float:
    """Return the pressure, 0 to 1, at a *utilisation* of 0 to 1 and beyond."""
    below_used, below = 0.0, 0.0
    for used, level in CURVE:
        if utilisation <= used:
            return below + (level - below) * (utilisation - below_used) / (used - below_used)
        below_used, below = used, level
    return 1.0


def admits(priority: int, load: Load, limits: FabricLimits) -> bool:
    """Say whether telemetry of *priority* is taken under *load*; an emergency always is."""
    if priority >= EMERGENCY:
        return True
    if load.conservative and priority < CRITICAL:
        return False
    if load.depth >= limits.shed_depth and priority <= NORMAL:
        return False
    narrowed = factors(load.conservative).depth_limit
    if load.waiting >= SHARE[priority] * load.capacity * narrowed:
        return False
    return pressure(load.depth / (limits.cap_depth * narrowed)) < THROTTLED_AT[priority]
