"""Epochs for the controller to judge, in few words."""

from esper.leyline.v1.enums_pb2 import BlendMode, SiteKind
from esper.leyline.v1.enums_pb2 import SeedLifecycleStage as Stage
from esper.leyline.v1.policy_pb2 import Candidate, JudgeEpoch
from esper.leyline.v1.run_pb2 import EpochFacts
from esper.leyline.v1.site_pb2 import Moment, SeedObservation, SitePressure, SiteShape

SPAN = SiteShape(
    input_kind=SiteKind.SITE_KIND_VECTOR,
    input_size=[16],
    output_kind=SiteKind.SITE_KIND_VECTOR,
    output_size=[26],
    dtype="float32",
    at_model_output=True,
)
PROMISE = {"r_squared": 0.2, "predicted_loss_decrease": 0.3, "best_alpha": 0.5, "probe_gain": 0.04}


def slot(stage: str, seed_id: str = "s0", *, generation: int = 1, blueprint_id: str = "BP021", **seen: float):
    """One slot as it was observed; `epochs` and `alpha` are its own fields, every other number was measured."""
    epochs, alpha = int(seen.pop("epochs", 0)), seen.pop("alpha", 0.0)
    return SeedObservation(
        seed_id=seed_id,
        stage=Stage.Value(f"SEED_STAGE_{stage}"),
        generation=generation,
        blueprint_id=blueprint_id,
        epochs_in_stage=epochs,
        alpha=alpha,
        measured=seen,
    )


def free(seed_id: str = "s0", generation: int = 0) -> SeedObservation:
    return slot("DORMANT", seed_id, generation=generation, blueprint_id="")


def pressure(r_squared: float = 0.14, decrease: float = 0.3, seed_id: str = "s0") -> SitePressure:
    return SitePressure(seed_id=seed_id, shape=SPAN, r_squared=r_squared, predicted_loss_decrease=decrease)


def offer(blueprint_id: str = "BP021", seed_id: str = "s0", count: int = 5026) -> Candidate:
    return Candidate(
        blueprint_id=blueprint_id,
        blueprint_version="1.0.0",
        parameters={"hidden_multiple": 4.0},
        blend_mode=BlendMode.BLEND_MODE_RESIDUAL,
        parameter_count=count,
        seed_id=seed_id,
    )


def epoch(
    number: int = 1,
    *seeds: SeedObservation,
    pressures: tuple[SitePressure, ...] = (),
    offers: tuple[Candidate, ...] = (),
    score: float | None = 0.6,
) -> JudgeEpoch:
    facts = EpochFacts(at=Moment(step=125 * number, epoch=number), score=score, pressures=pressures, seeds=seeds)
    return JudgeEpoch(
        facts=facts, candidates=offers, observation_id="e1", seed=7, steps_per_epoch=125, torch_version="2.13.0"
    )
