"""What to do about one seed that is already there."""

from collections.abc import Mapping

from esper.leyline.v1.enums_pb2 import AlphaCurve, CullInitiator
from esper.leyline.v1.enums_pb2 import DecisionAction as Action
from esper.leyline.v1.enums_pb2 import SeedLifecycleStage as Stage
from esper.leyline.v1.policy_pb2 import DecisionMade, JudgeEpoch
from esper.leyline.v1.run_pb2 import EpochFacts
from esper.leyline.v1.seed_pb2 import BeginBlending, BeginShadowing, CullSeed, FossilizeSeed
from esper.leyline.v1.site_pb2 import SeedObservation
from esper.tamiyo.rules.memory import LOST, Life, PolicyState
from esper.tamiyo.rules.settings import HeuristicSettings

PROMISE = ("r_squared", "predicted_loss_decrease", "best_alpha", "probe_gain")
EMPTY = frozenset(
    {
        Stage.SEED_STAGE_DORMANT,
        Stage.SEED_STAGE_CULLED,
        Stage.SEED_STAGE_EMBARGOED,
        Stage.SEED_STAGE_RESETTING,
    }
)


def judgement(
    settings: HeuristicSettings, state: PolicyState, command: JudgeEpoch, seed: SeedObservation
) -> DecisionMade | None:
    """Return the one action that *seed* has earned, or a WAIT that says what for.

    None when there is nothing to say: an empty or fossilized slot, or a seed that somebody planted by hand, which is
    that hand's to drive.
    """
    if seed.stage in EMPTY:
        return _lost(state, seed)
    life = state.life(seed.seed_id, seed.generation, seed.blueprint_id)
    if life is None:
        return None
    match seed.stage:
        case Stage.SEED_STAGE_GERMINATED:
            return _wait(seed, f"{seed.seed_id} waits for its kernel")
        case Stage.SEED_STAGE_TRAINING:
            return _training(settings, command, seed)
        case Stage.SEED_STAGE_BLENDING:
            return _blending(command.facts, seed)
        case Stage.SEED_STAGE_SHADOWING:
            return _wait(seed, f"{seed.seed_id} is watched with its output switched off")
        case Stage.SEED_STAGE_PROBATIONARY:
            return _probation(settings, life, command.facts, seed)
        case _:
            return None


def evidence(seed: SeedObservation) -> dict[str, float]:
    """Return what was measured about *seed*, as the evidence of the command it has earned."""
    return {**seed.measured, "epochs_in_stage": float(seed.epochs_in_stage)}


def _lost(state: PolicyState, seed: SeedObservation) -> DecisionMade | None:
    """A seed of ours that is no longer there, or never came: a gate or an operator said no. Remember it."""
    life = state.lives.get(seed.seed_id)
    if life is None or life.ended:
        return None
    return DecisionMade(
        action=Action.DECISION_ACTION_WAIT,
        seed_id=seed.seed_id,
        blueprint_id=life.blueprint_id,
        reason=f"{seed.seed_id} did not keep its {life.blueprint_id}: a gate or an operator refused it",
        inputs={LOST: 1.0},
    )


def _training(settings: HeuristicSettings, command: JudgeEpoch, seed: SeedObservation) -> DecisionMade:
    limits = {"epochs_in_stage": float(settings.min_training_epochs), **dict.fromkeys(PROMISE, 0.0)}
    inputs = _read(seed, *PROMISE)
    promising = all(inputs.get(name, 0.0) > 0.0 for name in PROMISE)
    if promising and seed.epochs_in_stage >= settings.min_training_epochs:
        return DecisionMade(
            action=Action.DECISION_ACTION_BLEND,
            seed_id=seed.seed_id,
            blueprint_id=seed.blueprint_id,
            reason=(
                f"{seed.seed_id} explains {inputs['r_squared']:.3f} of what the host wants and scores"
                f" {inputs['probe_gain']:+.4f} at alpha {inputs['best_alpha']:g}: let it in"
            ),
            inputs=inputs,
            thresholds=limits,
            blend=BeginBlending(
                at=command.facts.at,
                alpha_target=inputs["best_alpha"],
                curve=AlphaCurve.ALPHA_CURVE_COSINE,
                ramp_steps=max(1, settings.ramp_epochs * command.steps_per_epoch),
                evidence=evidence(seed),
            ),
        )
    if seed.epochs_in_stage >= settings.training_patience_epochs:
        limits["epochs_in_stage"] = float(settings.training_patience_epochs)
        why = f"no promise after {seed.epochs_in_stage} epochs of training ({_told(inputs, PROMISE)})"
        return _cull(command.facts, seed, why, inputs, limits)
    return _wait(seed, f"{seed.seed_id} is still learning ({_told(inputs, PROMISE)})", inputs, limits)


def _blending(facts: EpochFacts, seed: SeedObservation) -> DecisionMade:
    inputs = _read(seed, "ramp_complete", "alpha_error", "contribution")
    if inputs.get("ramp_complete", 0.0) < 1.0:
        return _wait(
            seed, f"{seed.seed_id} is being blended in, alpha {seed.alpha:.3g}", inputs, {"ramp_complete": 1.0}
        )
    return DecisionMade(
        action=Action.DECISION_ACTION_SHADOW,
        seed_id=seed.seed_id,
        blueprint_id=seed.blueprint_id,
        reason=f"{seed.seed_id} has reached alpha {seed.alpha:.3g}: switch it off for a few steps and watch it",
        inputs=inputs,
        thresholds={"ramp_complete": 1.0},
        shadow=BeginShadowing(at=facts.at, evidence=evidence(seed)),
    )


def _probation(settings: HeuristicSettings, life: Life, facts: EpochFacts, seed: SeedObservation) -> DecisionMade:
    """Harm first, then a seed that holds the run hostage, then - once it has been watched long enough - its worth."""
    inputs = _read(seed, "contribution")
    limits = {
        "contribution": settings.min_contribution,
        "epochs_in_stage": float(settings.min_probation_epochs),
        "age_epochs": float(settings.min_cull_age_epochs),
    }
    if "contribution" not in inputs:
        return _wait(seed, f"{seed.seed_id}'s contribution was not measured", inputs, limits)
    paid = inputs["contribution"]
    inputs["age_epochs"] = float(facts.at.epoch - life.germinated_epoch)
    may_cull = inputs["age_epochs"] >= settings.min_cull_age_epochs
    if may_cull and seed.epochs_in_stage >= settings.min_harm_epochs:
        if paid < settings.harm_contribution:
            limits = {**limits, "contribution": settings.harm_contribution}
            return _cull(facts, seed, f"it harms the model (contribution {paid:+.4f})", inputs, limits)
        lost = _score_lost(life, facts)
        if paid > settings.ransom_contribution and lost > 0.0:
            limits = {**limits, "contribution": settings.ransom_contribution, "score_lost": 0.0}
            why = f"the model leans on it ({paid:+.4f}) and yet scores {lost:.4f} less than before it came"
            return _cull(facts, seed, why, {**inputs, "score_lost": lost}, limits)
    if seed.epochs_in_stage < settings.min_probation_epochs:
        watched = f"{seed.epochs_in_stage} of {settings.min_probation_epochs} epochs"
        return _wait(seed, f"{seed.seed_id} is on probation ({watched}, contribution {paid:+.4f})", inputs, limits)
    if paid >= settings.min_contribution:
        return _fossilize(facts, seed, inputs, limits)
    if may_cull:
        return _cull(facts, seed, f"it does not pay (contribution {paid:+.4f})", inputs, limits)
    return _wait(seed, f"{seed.seed_id} does not pay ({paid:+.4f}) but is too young to be removed", inputs, limits)


def _score_lost(life: Life, facts: EpochFacts) -> float:
    """Return how far the run's score fell since the seed germinated; 0 when either was not measured."""
    if life.score_at_germination is None or not facts.HasField("score"):
        return 0.0
    return life.score_at_germination - facts.score


def _fossilize(
    facts: EpochFacts, seed: SeedObservation, inputs: Mapping[str, float], limits: Mapping[str, float]
) -> DecisionMade:
    return DecisionMade(
        action=Action.DECISION_ACTION_FOSSILIZE,
        seed_id=seed.seed_id,
        blueprint_id=seed.blueprint_id,
        reason=(
            f"{seed.seed_id} pays: switched off, the model scores {inputs['contribution']:.4f} less"
            f" (at least {limits['contribution']:g}) after {seed.epochs_in_stage} epochs on probation"
        ),
        inputs=inputs,
        thresholds=limits,
        fossilize=FossilizeSeed(at=facts.at, evidence=evidence(seed)),
    )


def _cull(
    facts: EpochFacts, seed: SeedObservation, why: str, inputs: Mapping[str, float], limits: Mapping[str, float]
) -> DecisionMade:
    return DecisionMade(
        action=Action.DECISION_ACTION_CULL,
        seed_id=seed.seed_id,
        blueprint_id=seed.blueprint_id,
        reason=f"{seed.seed_id}: {why}",
        inputs=inputs,
        thresholds=limits,
        cull=CullSeed(at=facts.at, reason=why, initiator=CullInitiator.CULL_INITIATOR_POLICY),
    )


def _wait(
    seed: SeedObservation,
    reason: str,
    inputs: Mapping[str, float] | None = None,
    thresholds: Mapping[str, float] | None = None,
) -> DecisionMade:
    return DecisionMade(
        action=Action.DECISION_ACTION_WAIT,
        seed_id=seed.seed_id,
        blueprint_id=seed.blueprint_id,
        reason=reason,
        inputs=inputs,
        thresholds=thresholds,
    )


def _read(seed: SeedObservation, *names: str) -> dict[str, float]:
    """Return those of *names* that were measured, and the seed's age in its stage."""
    measured = {name: seed.measured[name] for name in names if name in seed.measured}
    return {**measured, "epochs_in_stage": float(seed.epochs_in_stage)}


def _told(inputs: Mapping[str, float], names: tuple[str, ...]) -> str:
    return ", ".join(f"{name} {inputs[name]:.4g}" if name in inputs else f"{name} not measured" for name in names)
