"""Urza's library: the blueprints on offer, and which kernels were asked for, registered and refused."""

from collections.abc import Iterable

from esper.leyline.v1.blueprint_pb2 import BlueprintRegistered
from esper.leyline.v1.enums_pb2 import BlendMode, BlueprintTier, EngineVerdict, SiteKind
from esper.leyline.v1.kernel_pb2 import KernelRegistered, KernelRejected, KernelRequested
from esper.nissa.projections.declared import Projection, Row
from esper.nissa.recorded import PLACE, RecordedEvent, place
from esper.nissa.words import json_map, word


def _rows(recorded: RecordedEvent) -> Iterable[Row]:
    match recorded.event:
        case BlueprintRegistered() as registered:
            yield "blueprints", {**place(recorded), **_descriptor(registered)}
        case KernelRequested(spec=spec) as requested:
            yield (
                "kernels_requested",
                {
                    **place(recorded),
                    "kernel_key": recorded.stream.aggregate_id,
                    "request_id": requested.request_id,
                    "for_run": requested.run_id,
                    "seed_id": requested.seed_id,
                    "blueprint_id": spec.blueprint_id,
                    "blueprint_version": spec.blueprint_version,
                    "blueprint_parameters": json_map(spec.parameters),
                },
            )
        case KernelRegistered() as kernel:
            yield (
                "kernels_registered",
                {**place(recorded), "kernel_key": recorded.stream.aggregate_id, **_bundle(kernel)},
            )
        case KernelRejected() as rejected:
            yield (
                "kernels_rejected",
                {
                    **place(recorded),
                    "kernel_key": recorded.stream.aggregate_id,
                    "kernel_id": rejected.kernel_id,
                    "reason": rejected.reason,
                    "detail": rejected.detail,
                },
            )
        case _:
            return


def _descriptor(registered: BlueprintRegistered) -> dict[str, object]:
    offered = registered.descriptor
    return {
        "blueprint_id": offered.blueprint_id,
        "name": offered.name,
        "blueprint_version": offered.version,
        "tier": word(BlueprintTier, offered.tier),
        "risk": offered.risk,
        "kinds": [word(SiteKind, kind) for kind in offered.kinds],
        "blend_mode": word(BlendMode, offered.blend_mode),
        "spans": offered.spans,
        "description": offered.description,
    }


def _bundle(kernel: KernelRegistered) -> dict[str, object]:
    return {
        "kernel_id": kernel.kernel_id,
        "kernel_version": kernel.version,
        "bytes": kernel.bytes,
        "guard_digest": kernel.guard_digest,
        "verdict": word(EngineVerdict, kernel.verdict),
        "compile_ms": kernel.compile_ms,
        "prewarm_p50_ms": kernel.prewarm_p50_ms if kernel.HasField("prewarm_p50_ms") else None,
        "prewarm_p95_ms": kernel.prewarm_p95_ms if kernel.HasField("prewarm_p95_ms") else None,
        "eager_fallback": kernel.eager_fallback,
        "fallback_reason": kernel.fallback_reason,
        "torch_version": kernel.spec.torch_version,
    }


KEY = {**PLACE, "kernel_key": "VARCHAR"}

KERNELS = Projection(
    name="kernels",
    version=1,
    tables={
        "blueprints": {
            **PLACE,
            "blueprint_id": "VARCHAR",
            "name": "VARCHAR",
            "blueprint_version": "VARCHAR",
            "tier": "VARCHAR",
            "risk": "DOUBLE",
            "kinds": "VARCHAR[]",
            "blend_mode": "VARCHAR",
            "spans": "BOOLEAN",
            "description": "VARCHAR",
        },
        "kernels_requested": {
            **KEY,
            "request_id": "VARCHAR",
            "for_run": "VARCHAR",
            "seed_id": "VARCHAR",
            "blueprint_id": "VARCHAR",
            "blueprint_version": "VARCHAR",
            "blueprint_parameters": "JSON",
        },
        "kernels_registered": {
            **KEY,
            "kernel_id": "VARCHAR",
            "kernel_version": "VARCHAR",
            "bytes": "UBIGINT",
            "guard_digest": "VARCHAR",
            "verdict": "VARCHAR",
            "compile_ms": "DOUBLE",
            "prewarm_p50_ms": "DOUBLE",
            "prewarm_p95_ms": "DOUBLE",
            "eager_fallback": "BOOLEAN",
            "fallback_reason": "VARCHAR",
            "torch_version": "VARCHAR",
        },
        "kernels_rejected": {**KEY, "kernel_id": "VARCHAR", "reason": "VARCHAR", "detail": "VARCHAR"},
    },
    rows=_rows,
)
