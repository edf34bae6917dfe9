"""Tezzeret's forge: every compile job, attempt and stage."""

from collections.abc import Iterable

from google.protobuf.message import Message

from esper.leyline.v1.enums_pb2 import CompileStage, EngineVerdict
from esper.leyline.v1.job_pb2 import (
    CompileAttemptFailed,
    CompileAttemptStarted,
    CompileJobQuarantined,
    CompileJobQueued,
    CompileStageCompleted,
    CompileStageTiming,
    KernelCompiled,
)
from esper.nissa.projections.declared import Projection, Row
from esper.nissa.recorded import PLACE, RecordedEvent, place
from esper.nissa.words import json_map, word


def _rows(recorded: RecordedEvent) -> Iterable[Row]:
    about = {**place(recorded), "kernel_key": recorded.stream.aggregate_id}
    facts = _job_facts(recorded.event)
    if facts is not None:
        yield "job_events", {**about, "event": recorded.event.DESCRIPTOR.name, **facts}
    match recorded.event:
        case CompileStageCompleted(attempt=attempt, timing=timing):
            yield "job_stages", {**about, "attempt": attempt, **_stage(timing)}
        case _:
            return


def _job_facts(event: Message) -> dict[str, object] | None:
    match event:
        case CompileJobQueued(spec=spec):
            return {
                "state": "queued",
                "blueprint_id": spec.blueprint_id,
                "blueprint_parameters": json_map(spec.parameters),
                "requester": event.requester,
            }
        case CompileAttemptStarted(attempt=attempt, forge_epoch=forge_epoch):
            return {"state": "running", "attempt": attempt, "forge_epoch": forge_epoch}
        case CompileAttemptFailed():
            state = "retrying" if event.will_retry else "failed"
            return {"state": state, "attempt": event.attempt, "reason": event.reason, "detail": event.detail}
        case CompileJobQuarantined():
            return {"state": "quarantined", "attempt": event.attempts, "reason": event.last_reason}
        case KernelCompiled():
            return _compiled(event)
        case _:
            return None


def _compiled(event: KernelCompiled) -> dict[str, object]:
    kernel = event.kernel
    return {
        "state": "compiled",
        "attempt": event.attempt,
        "kernel_id": kernel.kernel_id,
        "verdict": word(EngineVerdict, kernel.verdict),
        "eager_fallback": kernel.eager_fallback,
        "reason": kernel.fallback_reason or None,
        "compile_ms": kernel.compile_ms,
        "peak_rss_mib": kernel.peak_rss_mib,
    }


def _stage(timing: CompileStageTiming) -> dict[str, object]:
    return {
        "stage": word(CompileStage, timing.stage),
        "duration_ms": timing.duration_ms,
        "sha256": timing.sha256,
        "detail": timing.detail,
    }


KEY = {**PLACE, "kernel_key": "VARCHAR"}

JOBS = Projection(
    name="jobs",
    version=1,
    tables={
        "job_events": {
            **KEY,
            "event": "VARCHAR",
            "state": "VARCHAR",
            "attempt": "BIGINT",
            "forge_epoch": "UBIGINT",
            "blueprint_id": "VARCHAR",
            "blueprint_parameters": "JSON",
            "requester": "VARCHAR",
            "kernel_id": "VARCHAR",
            "verdict": "VARCHAR",
            "eager_fallback": "BOOLEAN",
            "compile_ms": "DOUBLE",
            "peak_rss_mib": "DOUBLE",
            "reason": "VARCHAR",
            "detail": "VARCHAR",
        },
        "job_stages": {
            **KEY,
            "attempt": "BIGINT",
            "stage": "VARCHAR",
            "duration_ms": "DOUBLE",
            "sha256": "VARCHAR",
            "detail": "VARCHAR",
        },
    },
    rows=_rows,
)
