"""The life of every growth slot, event by event; each seed in a slot is a generation of it."""

from collections.abc import Iterable

from google.protobuf.message import Message

from esper.leyline.v1.enums_pb2 import AlphaCurve, BlendMode, CullInitiator, SeedLifecycleStage
from esper.leyline.v1.seed_pb2 import (
    AlphaRampCompleted,
    AlphaRampPaused,
    KernelAttached,
    KernelAttachFailed,
    SeedBlendingStarted,
    SeedCommandRefused,
    SeedCulled,
    SeedFossilized,
    SeedGerminated,
    SeedProbationStarted,
    SeedRebased,
    SeedShadowingStarted,
    SeedTrainingStarted,
    SlotEmbargoed,
    SlotRegistered,
    SlotReopened,
    SlotResetStarted,
    SlotTerminated,
)
from esper.nissa.projections.declared import Projection, Row
from esper.nissa.recorded import PLACE, RecordedEvent, place, seed_of
from esper.nissa.words import json_map, word


def _rows(recorded: RecordedEvent) -> Iterable[Row]:
    facts = _slot_facts(recorded.event)
    if facts is not None:
        event = recorded.event.DESCRIPTOR.name
        yield "seed_events", {**place(recorded), "seed_id": seed_of(recorded), "event": event, **facts}


def _slot_facts(event: Message) -> dict[str, object] | None:
    """Return what *event* says about its slot; None if it is about something else or moves nothing."""
    match event:
        case SlotRegistered(site=site):
            return {"stage": "dormant", "site": site.label}
        case SlotEmbargoed():
            return {"stage": "embargoed"}
        case SlotResetStarted():
            return {"stage": "resetting"}
        case SlotReopened():
            return {"stage": "dormant"}
        case SlotTerminated():
            return {"stage": "terminated"}
        case SeedCommandRefused(command_type=command_type, reason=reason):
            return {"reason": f"{command_type}: {reason}"}
        case _:
            return _seed_facts(event)


def _seed_facts(event: Message) -> dict[str, object] | None:
    match event:
        case SeedGerminated():
            return _germinated(event)
        case KernelAttached():
            return {"kernel_id": event.kernel_id, "parameters": event.parameter_count}
        case KernelAttachFailed():
            return {"kernel_id": event.kernel_id, "reason": f"{event.reason}: {event.detail}"}
        case SeedTrainingStarted():
            return {"stage": "training"}
        case SeedBlendingStarted():
            curve = word(AlphaCurve, event.curve)
            return {"stage": "blending", "alpha": event.alpha_target, "curve": curve, "ramp_steps": event.ramp_steps}
        case AlphaRampCompleted(alpha=alpha) | AlphaRampPaused(alpha=alpha):
            return {"alpha": alpha}
        case SeedShadowingStarted():
            return {"stage": "shadowing"}
        case SeedProbationStarted():
            return {"stage": "probationary"}
        case SeedFossilized(contribution=contribution):
            return {"stage": "fossilized", "contribution": contribution}
        case SeedRebased(state=state):
            return {
                "stage": word(SeedLifecycleStage, state.stage),
                "generation": state.generation or None,
                "blueprint_id": state.blueprint_id or None,
            }
        case SeedCulled():
            return {
                "stage": "culled",
                "reason": event.reason,
                "initiator": word(CullInitiator, event.initiator),
                "from_stage": word(SeedLifecycleStage, event.from_stage),
            }
        case _:
            return None


def _germinated(event: SeedGerminated) -> dict[str, object]:
    return {
        "stage": "germinated",
        "generation": event.generation,
        "blueprint_id": event.blueprint_id,
        "blueprint_parameters": json_map(event.parameters),
        "blend_mode": word(BlendMode, event.blend_mode),
        "kernel_key": event.kernel_key,
    }


SEEDS = Projection(
    name="seeds",
    version=2,
    tables={
        "seed_events": {
            **PLACE,
            "seed_id": "VARCHAR",
            "event": "VARCHAR",
            "stage": "VARCHAR",
            "generation": "BIGINT",
            "site": "VARCHAR",
            "blueprint_id": "VARCHAR",
            "blueprint_parameters": "JSON",
            "blend_mode": "VARCHAR",
            "kernel_key": "VARCHAR",
            "kernel_id": "VARCHAR",
            "parameters": "UBIGINT",
            "alpha": "DOUBLE",
            "curve": "VARCHAR",
            "ramp_steps": "BIGINT",
            "contribution": "DOUBLE",
            "reason": "VARCHAR",
            "initiator": "VARCHAR",
            "from_stage": "VARCHAR",
        }
    },
    rows=_rows,
)
