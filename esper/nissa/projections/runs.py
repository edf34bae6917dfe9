"""A run's beginning, what it was forked from, its resumes, when its growth was frozen, its end, the seeds it kept."""

from collections.abc import Iterable

from esper.leyline.v1.enums_pb2 import RollbackMode, RollbackTier
from esper.leyline.v1.run_pb2 import (
    GrowthFrozen,
    GrowthThawed,
    RollbackCompleted,
    RunFacts,
    RunFinished,
    RunForked,
    RunResumed,
    RunRolledBack,
    RunStarted,
    RunSummary,
)
from esper.nissa.projections.declared import Projection, Row
from esper.nissa.recorded import PLACE, RecordedEvent, place
from esper.nissa.words import word


def _rows(recorded: RecordedEvent) -> Iterable[Row]:
    match recorded.event:
        case RunStarted(facts=facts):
            yield "run_starts", {**place(recorded), **_facts(facts)}
        case RunResumed(checkpoint_id=checkpoint_id, attempt=attempt):
            yield "run_resumes", {**place(recorded), "checkpoint_id": checkpoint_id, "attempt": attempt}
        case RunForked(origin=origin):
            forked_from = {"forked_from": origin.run_id, "forked_at": origin.position}
            yield "run_forks", {**place(recorded), **forked_from, "checkpoint_id": origin.checkpoint_id}
        case RunRolledBack() as event:
            yield "run_rollbacks", {**place(recorded), **_rollback(event)}
        case RollbackCompleted() as event:
            completed = {"timeline": event.timeline, "tier": word(RollbackTier, event.tier), "seconds": event.seconds}
            yield "run_rollback_times", {**place(recorded), **completed}
        case GrowthFrozen(reason=reason) | GrowthThawed(reason=reason):
            frozen = isinstance(recorded.event, GrowthFrozen)
            yield (
                "run_freezes",
                {**place(recorded), "frozen": frozen, "reason": reason, "told_by": recorded.context.actor},
            )
        case RunFinished(summary=summary):
            yield "run_ends", {**place(recorded), **_summary(summary)}
            for kept in summary.kept:
                yield (
                    "kept_seeds",
                    {
                        **place(recorded),
                        "seed_id": kept.seed_id,
                        "blueprint_id": kept.blueprint_id,
                        "parameters": kept.parameters,
                        "score_with": kept.score_with,
                        "score_without": kept.score_without,
                    },
                )
        case _:
            return


def _facts(facts: RunFacts) -> dict[str, object]:
    return {
        "model_class": facts.model_class,
        "data": facts.data,
        "seed": facts.seed,
        "host_parameters": facts.host_parameters,
        "sites": [site.label for site in facts.sites],
        "model_sha256": facts.model_sha256,
        "settings": facts.settings_json or None,
        "torch_version": facts.torch_version,
        "python_version": facts.python_version,
        "esper_version": facts.esper_version,
    }


def _rollback(event: RunRolledBack) -> dict[str, object]:
    return {
        "checkpoint_id": event.checkpoint_id,
        "to_epoch": event.to.epoch,
        "to_step": event.to.step,
        "mode": word(RollbackMode, event.mode),
        "reason": event.reason,
        "timeline": event.timeline,
        "abandoned_from": event.abandoned_from,
        "abandoned_until": event.abandoned_until,
    }


def _summary(summary: RunSummary) -> dict[str, object]:
    return {
        "score": summary.score if summary.HasField("score") else None,
        "parameters_before": summary.parameters_before,
        "parameters_after": summary.parameters_after,
        "germinated": summary.germinated,
        "culled": summary.culled,
        "overhead_ratio": summary.overhead_ratio,
        "model_sha256": summary.model_sha256,
    }


RUNS = Projection(
    name="runs",
    version=3,
    tables={
        "run_starts": {
            **PLACE,
            "model_class": "VARCHAR",
            "data": "VARCHAR",
            "seed": "UBIGINT",
            "host_parameters": "UBIGINT",
            "sites": "VARCHAR[]",
            "model_sha256": "VARCHAR",
            "settings": "JSON",
            "torch_version": "VARCHAR",
            "python_version": "VARCHAR",
            "esper_version": "VARCHAR",
        },
        "run_resumes": {**PLACE, "checkpoint_id": "VARCHAR", "attempt": "BIGINT"},
        "run_forks": {**PLACE, "forked_from": "VARCHAR", "forked_at": "UBIGINT", "checkpoint_id": "VARCHAR"},
        "run_rollbacks": {
            **PLACE,
            "checkpoint_id": "VARCHAR",
            "to_epoch": "BIGINT",
            "to_step": "BIGINT",
            "mode": "VARCHAR",
            "reason": "VARCHAR",
            "timeline": "BIGINT",
            "abandoned_from": "UBIGINT",
            "abandoned_until": "UBIGINT",
        },
        "run_rollback_times": {**PLACE, "timeline": "BIGINT", "tier": "VARCHAR", "seconds": "DOUBLE"},
        "run_freezes": {**PLACE, "frozen": "BOOLEAN", "reason": "VARCHAR", "told_by": "VARCHAR"},
        "run_ends": {
            **PLACE,
            "score": "DOUBLE",
            "parameters_before": "UBIGINT",
            "parameters_after": "UBIGINT",
            "germinated": "BIGINT",
            "culled": "BIGINT",
            "overhead_ratio": "DOUBLE",
            "model_sha256": "VARCHAR",
        },
        "kept_seeds": {
            **PLACE,
            "seed_id": "VARCHAR",
            "blueprint_id": "VARCHAR",
            "parameters": "UBIGINT",
            "score_with": "DOUBLE",
            "score_without": "DOUBLE",
        },
    },
    rows=_rows,
)
