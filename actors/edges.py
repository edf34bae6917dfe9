"""The legal edges T1-T13 of a seed's life, stated apart from the rules that produce them, to check history against."""

from collections.abc import Mapping

import msgspec
from google.protobuf.message import Message

from esper.kasmina.rules.gates import FOSSILIZE, STRICT
from esper.kasmina.rules.seed import CULLABLE, Seed
from esper.leyline.v1.enums_pb2 import CullInitiator
from esper.leyline.v1.enums_pb2 import SeedLifecycleGate as Gate
from esper.leyline.v1.enums_pb2 import SeedLifecycleStage as Stage
from esper.leyline.v1.seed_pb2 import (
    AlphaRampCompleted,
    AlphaRampPaused,
    GateEvaluated,
    KernelAttached,
    KernelAttachFailed,
    SeedBlendingStarted,
    SeedCulled,
    SeedFossilized,
    SeedGerminated,
    SeedProbationStarted,
    SeedShadowingStarted,
    SeedTrainingStarted,
    SlotEmbargoed,
    SlotRegistered,
    SlotReopened,
    SlotResetStarted,
    SlotTerminated,
)


class Edge(msgspec.Struct, frozen=True):
    """From which stages an event may happen, and which gate must have passed in the same decision."""

    name: str
    sources: frozenset[Stage]
    gate: Gate | None = None
    profile: str = STRICT
    later_step: bool = False


class Illegality(msgspec.Struct, frozen=True):
    """Why an event cannot have happened: the edge's own words, and what the history shows instead."""

    expected: str
    found: str


def _from(*stages: Stage) -> frozenset[Stage]:
    return frozenset(stages)


# Where alpha may be given another target; in BLENDING once it rests.
HOLDING = (Stage.SEED_STAGE_BLENDING, Stage.SEED_STAGE_SHADOWING, Stage.SEED_STAGE_PROBATIONARY)

EDGES: Mapping[type[Message], tuple[Edge, ...]] = {
    SlotRegistered: (Edge("T1", _from(Stage.SEED_STAGE_UNKNOWN)),),
    SeedGerminated: (Edge("T2", _from(Stage.SEED_STAGE_DORMANT), Gate.SEED_GATE_G0_SANITY),),
    KernelAttached: (Edge("T3", _from(Stage.SEED_STAGE_GERMINATED), Gate.SEED_GATE_G1_GRADIENT_HEALTH),),
    KernelAttachFailed: (Edge("T3", _from(Stage.SEED_STAGE_GERMINATED)),),
    SeedTrainingStarted: (
        Edge("T3", _from(Stage.SEED_STAGE_GERMINATED), Gate.SEED_GATE_G1_GRADIENT_HEALTH, later_step=True),
    ),
    SeedBlendingStarted: (
        Edge("T4", _from(Stage.SEED_STAGE_TRAINING), Gate.SEED_GATE_G2_STABILITY, later_step=True),
        Edge("T8", _from(*HOLDING), later_step=True),
    ),
    AlphaRampCompleted: (Edge("T5", _from(Stage.SEED_STAGE_BLENDING)),),
    AlphaRampPaused: (Edge("T5", _from(Stage.SEED_STAGE_BLENDING)),),
    SeedShadowingStarted: (Edge("T5", _from(Stage.SEED_STAGE_BLENDING), Gate.SEED_GATE_G3_INTERFACE, later_step=True),),
    SeedProbationStarted: (
        Edge("T6", _from(Stage.SEED_STAGE_SHADOWING), Gate.SEED_GATE_G4_SYSTEM_IMPACT, later_step=True),
    ),
    SeedFossilized: (
        Edge("T7", _from(Stage.SEED_STAGE_PROBATIONARY), Gate.SEED_GATE_G4_SYSTEM_IMPACT, FOSSILIZE, later_step=True),
    ),
    SeedCulled: (Edge("T9", CULLABLE),),
    SlotEmbargoed: (Edge("T10", _from(Stage.SEED_STAGE_CULLED)),),
    SlotResetStarted: (Edge("T11", _from(Stage.SEED_STAGE_EMBARGOED)),),
    SlotReopened: (Edge("T12", _from(Stage.SEED_STAGE_RESETTING), Gate.SEED_GATE_G5_RESET),),
    SlotTerminated: (Edge("T13", _from(Stage.SEED_STAGE_DORMANT, Stage.SEED_STAGE_FOSSILIZED)),),
}


def illegal_edge(seed: Seed, event: Message, earlier: tuple[Message, ...]) -> Illegality | None:
    """Return why *event* cannot follow on *seed*, or None if it can; *earlier* are its commit's events before it."""
    edges = EDGES.get(type(event))
    if edges is None:
        return None
    kind = type(event).__name__
    edge = next((edge for edge in edges if seed.stage in edge.sources), None)
    if edge is None:
        sources = " or ".join(_name(stage) for edge in edges for stage in sorted(edge.sources))
        return Illegality(f"{kind} from {sources} ({edges[0].name})", f"the seed is {_name(seed.stage)}")
    return _ungated(edge, kind, earlier) or _too_early(edge, seed, event) or _contradicted(seed, event, earlier)


def _ungated(edge: Edge, kind: str, earlier: tuple[Message, ...]) -> Illegality | None:
    if edge.gate is None:
        return None
    verdicts = [one for one in earlier if isinstance(one, GateEvaluated)]
    if any(one.gate == edge.gate and one.profile == edge.profile and one.passed for one in verdicts):
        return None
    wanted = f"{kind} after {Gate.Name(edge.gate)} ({edge.profile}) passed in the same decision ({edge.name})"
    found = ", ".join(f"{Gate.Name(one.gate)} ({one.profile}) passed={one.passed}" for one in verdicts)
    return Illegality(wanted, found or "no gate was evaluated")


def _too_early(edge: Edge, seed: Seed, event: Message) -> Illegality | None:
    match event:
        case (
            SeedTrainingStarted(at=at)
            | SeedBlendingStarted(at=at)
            | SeedShadowingStarted(at=at)
            | SeedProbationStarted(at=at)
            | SeedFossilized(at=at)
        ) if edge.later_step and at.step <= seed.since_step:
            return Illegality(f"an optimizer step after step {seed.since_step} ({edge.name})", f"step {at.step}")
        case SlotResetStarted(at=at) if at.epoch < seed.embargo_until_epoch:
            return Illegality(f"epoch {seed.embargo_until_epoch} or later ({edge.name})", f"epoch {at.epoch}")
        case _:
            return None


def _contradicted(seed: Seed, event: Message, earlier: tuple[Message, ...]) -> Illegality | None:
    match event:
        case SeedCulled() if event.from_stage != seed.stage:
            return Illegality(f"culled while {_name(seed.stage)}", f"culled while {_name(event.from_stage)}")
        case SeedCulled(initiator=CullInitiator.CULL_INITIATOR_GATE) if not any(_refusal(one) for one in earlier):
            return Illegality("a failed gate or a refused kernel in the same decision", "culled by a gate that passed")
        case SeedGerminated() if event.generation != seed.next_generation:
            return Illegality(f"generation {seed.next_generation}", f"generation {event.generation}")
        case SeedBlendingStarted() if seed.stage == Stage.SEED_STAGE_BLENDING and not seed.alpha_holds:
            return Illegality("a ramp that is complete or paused (T8)", "alpha is on its way")
        case AlphaRampPaused() if seed.alpha_holds or seed.ramp is None or event.alpha != seed.ramp.at(event.at.step):
            found = f"alpha {event.alpha}" + (" which rests already" if seed.alpha_holds else "")
            return Illegality(f"alpha {seed.ramp.at(event.at.step) if seed.ramp else 'of a ramp'}", found)
        case AlphaRampCompleted() if seed.ramp is None or event.alpha != seed.ramp.target:
            return Illegality(f"alpha {seed.ramp.target if seed.ramp else 'of a ramp'}", f"alpha {event.alpha}")
        case _:
            return None


def _refusal(event: Message) -> bool:
    match event:
        case GateEvaluated():
            return not event.passed
        case KernelAttachFailed():
            return True
        case _:
            return False


def _name(stage: Stage) -> str:
    return Stage.Name(stage).removeprefix("SEED_STAGE_")
