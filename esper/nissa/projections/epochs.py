"""What was measured in each epoch: of the host, of each slot, and where growth would pay; and which were lost."""

from collections.abc import Iterable

from esper.leyline.v1.enums_pb2 import SeedLifecycleStage
from esper.leyline.v1.run_pb2 import EpochEnded, EpochFacts, EpochsSkipped
from esper.nissa.projections.declared import Projection, Row
from esper.nissa.recorded import PLACE, RecordedEvent, place
from esper.nissa.words import json_map, word


def _rows(recorded: RecordedEvent) -> Iterable[Row]:
    match recorded.event:
        case EpochEnded(facts=facts):
            yield "host_epochs", {**place(recorded), **_host(facts)}
            for pressure in facts.pressures:
                yield (
                    "site_pressures",
                    {
                        **place(recorded),
                        "seed_id": pressure.seed_id,
                        "r_squared": pressure.r_squared,
                        "predicted_loss_decrease": pressure.predicted_loss_decrease,
                        "gradient_rms": pressure.gradient_rms,
                        "samples": pressure.samples,
                    },
                )
            for seed in facts.seeds:
                yield (
                    "seed_epochs",
                    {
                        **place(recorded),
                        "seed_id": seed.seed_id,
                        "generation": seed.generation,
                        "blueprint_id": seed.blueprint_id,
                        "stage": word(SeedLifecycleStage, seed.stage),
                        "epochs_in_stage": seed.epochs_in_stage,
                        "alpha": seed.alpha,
                        "measured": json_map(seed.measured),
                    },
                )
        case EpochsSkipped(first_epoch=first_epoch, reason=reason):
            yield "epochs_skipped", {**place(recorded), "first_epoch": first_epoch, "reason": reason}
        case _:
            return


def _host(facts: EpochFacts) -> dict[str, object]:
    return {
        "steps": facts.steps,
        "train_loss": facts.train_loss,
        "score": facts.score if facts.HasField("score") else None,
        "metrics": json_map(facts.metrics),
        "model_parameters": facts.model_parameters,
        "growing_parameters": facts.growing_parameters,
        "step_seconds": facts.step_seconds,
        "overhead_seconds": facts.overhead_seconds,
        "outbox_depth": facts.outbox_depth,
    }


EPOCHS = Projection(
    name="epochs",
    version=2,
    tables={
        "host_epochs": {
            **PLACE,
            "steps": "BIGINT",
            "train_loss": "DOUBLE",
            "score": "DOUBLE",
            "metrics": "JSON",
            "model_parameters": "UBIGINT",
            "growing_parameters": "UBIGINT",
            "step_seconds": "DOUBLE",
            "overhead_seconds": "DOUBLE",
            "outbox_depth": "BIGINT",
        },
        "epochs_skipped": {**PLACE, "first_epoch": "BIGINT", "reason": "VARCHAR"},
        "site_pressures": {
            **PLACE,
            "seed_id": "VARCHAR",
            "r_squared": "DOUBLE",
            "predicted_loss_decrease": "DOUBLE",
            "gradient_rms": "DOUBLE",
            "samples": "BIGINT",
        },
        "seed_epochs": {
            **PLACE,
            "seed_id": "VARCHAR",
            "generation": "BIGINT",
            "blueprint_id": "VARCHAR",
            "stage": "VARCHAR",
            "epochs_in_stage": "BIGINT",
            "alpha": "DOUBLE",
            "measured": "JSON",
        },
    },
    rows=_rows,
)
