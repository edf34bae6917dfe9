"""Where to grow, what to grow there, and when not to."""

import hashlib
import math
from collections.abc import Mapping

from esper.leyline.canonical import kernel_key
from esper.leyline.v1.enums_pb2 import DecisionAction as Action
from esper.leyline.v1.enums_pb2 import SeedLifecycleStage as Stage
from esper.leyline.v1.kernel_pb2 import KernelSpec
from esper.leyline.v1.policy_pb2 import Candidate, DecisionMade, JudgeEpoch
from esper.leyline.v1.run_pb2 import EpochFacts
from esper.leyline.v1.seed_pb2 import GerminateSeed
from esper.leyline.v1.site_pb2 import SeedObservation, SitePressure
from esper.tamiyo.rules.memory import GENERATION, PolicyState
from esper.tamiyo.rules.settings import HeuristicSettings

LIVE = frozenset(
    {
        Stage.SEED_STAGE_GERMINATED,
        Stage.SEED_STAGE_TRAINING,
        Stage.SEED_STAGE_BLENDING,
        Stage.SEED_STAGE_SHADOWING,
        Stage.SEED_STAGE_PROBATIONARY,
    }
)

# Up to the epoch whose number has so many bits, pressure is measured in every one.
EVERY_EPOCH_BITS = 3
# For so many rows `min_pressure` is meant: the noise of what a probe explains falls with their number.
ROWS = 8192


def growth(settings: HeuristicSettings, state: PolicyState, command: JudgeEpoch) -> DecisionMade:
    """Return the germination that the measured pressure asks for, or a WAIT that says why there is none."""
    facts = command.facts
    dormant = {seed.seed_id: seed for seed in facts.seeds if seed.stage == Stage.SEED_STAGE_DORMANT}
    live = live_seeds(facts)
    if facts.at.epoch < settings.min_epoch:
        early = f"it is too early to grow before epoch {settings.min_epoch}"
        return _wait(early, {"epoch": facts.at.epoch}, {"epoch": settings.min_epoch})
    if not dormant:
        return _wait("no slot is free")
    if live >= settings.max_live_seeds:
        full = f"{live} of at most {settings.max_live_seeds} seeds are growing already"
        return _wait(full, {"live_seeds": live}, {"live_seeds": settings.max_live_seeds})
    pressures = sorted(
        (pressure for pressure in facts.pressures if pressure.seed_id in dormant),
        key=lambda pressure: _rank(pressure.predicted_loss_decrease),
        reverse=True,
    )
    if not pressures:
        return _wait("no growth pressure was measured at a free slot")
    wanting = [pressure for pressure in pressures if _asks(settings, pressure)]
    if not wanting:
        return _no_pressure(settings, pressures)
    for pressure in wanting:
        candidate = _candidate(settings, state, command, pressure.seed_id)
        if candidate is not None:
            return _germination(settings, command, pressure, candidate, dormant[pressure.seed_id])
    sites = ", ".join(pressure.seed_id for pressure in wanting)
    return _wait(f"nothing on offer for {sites} is worth another try", thresholds={"penalty": settings.penalty_limit})


def worth_a_look(settings: HeuristicSettings, epoch: int, live: int, last: EpochFacts) -> bool:
    """Whether growth pressure should be measured in the epoch that will end as number *epoch*.

    Not where nothing could follow from it: too early, or with *live* seeds no room for another. A host that showed no
    pressure when it was looked at *last* seldom shows any soon: from the eighth epoch on it is looked at every second
    epoch, from the sixteenth every fourth, and so on.
    """
    if epoch < settings.min_epoch or live >= settings.max_live_seeds:
        return False
    every = 1 << max(0, epoch.bit_length() - EVERY_EPOCH_BITS)
    return epoch % every == 0 or any(_asks(settings, pressure) for pressure in last.pressures)


def live_seeds(facts: EpochFacts) -> int:
    """Count the seeds that are growing: germinated, and neither kept nor removed yet."""
    return sum(seed.stage in LIVE for seed in facts.seeds)


def init_seed(run_seed: int, seed_id: str, generation: int) -> int:
    """Return the seed of one module's random draws: 63 bits that depend on nothing but these three."""
    digest = hashlib.sha256(f"{run_seed}|{seed_id}|{generation}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _least(settings: HeuristicSettings, pressure: SitePressure) -> float:
    """Return the pressure that is asked for, given how many rows it was measured on."""
    return settings.min_pressure * min(1.0, ROWS / max(1, pressure.rows))


def _asks(settings: HeuristicSettings, pressure: SitePressure) -> bool:
    return (
        pressure.r_squared >= _least(settings, pressure)
        and math.isfinite(pressure.r_squared)
        and pressure.predicted_loss_decrease > 0.0
    )


def _rank(number: float) -> float:
    return number if math.isfinite(number) else -math.inf


def _candidate(settings: HeuristicSettings, state: PolicyState, command: JudgeEpoch, seed_id: str) -> Candidate | None:
    """Return the first of Karn's offers, the least failed here first, that is able to learn and not in disgrace."""
    epoch = command.facts.at.epoch

    def in_disgrace(blueprint_id: str) -> bool:
        penalty = state.penalties.get(blueprint_id)
        return penalty is not None and penalty.at(epoch, settings.penalty_kept_per_epoch) >= settings.penalty_limit

    offers = [
        offer
        for offer in command.candidates
        if offer.seed_id == seed_id and offer.parameter_count > 0 and not in_disgrace(offer.blueprint_id)
    ]
    # min() keeps the first of equals, so Karn's order decides between offers that failed equally often.
    return min(offers, key=lambda offer: state.failures.get((seed_id, offer.blueprint_id), 0), default=None)


def _germination(
    settings: HeuristicSettings,
    command: JudgeEpoch,
    pressure: SitePressure,
    candidate: Candidate,
    slot: SeedObservation,
) -> DecisionMade:
    seed_id, live = pressure.seed_id, live_seeds(command.facts)
    return DecisionMade(
        action=Action.DECISION_ACTION_GERMINATE,
        seed_id=seed_id,
        blueprint_id=candidate.blueprint_id,
        reason=(
            f"{candidate.blueprint_id} at {seed_id}: a probe predicts {pressure.r_squared:.3g} of what the host wants"
            f" there (at least {_least(settings, pressure):.3g})"
            f" and a loss lower by {pressure.predicted_loss_decrease:.4g}"
        ),
        inputs={
            "r_squared": pressure.r_squared,
            "predicted_loss_decrease": pressure.predicted_loss_decrease,
            "live_seeds": live,
            "parameter_count": candidate.parameter_count,
            GENERATION: slot.generation + 1,
        },
        thresholds={
            "r_squared": _least(settings, pressure),
            "predicted_loss_decrease": 0.0,
            "live_seeds": settings.max_live_seeds,
        },
        germinate=_seed_to_plant(command, pressure, candidate, slot),
    )


def _seed_to_plant(
    command: JudgeEpoch, pressure: SitePressure, candidate: Candidate, slot: SeedObservation
) -> GerminateSeed:
    draws = init_seed(command.seed, slot.seed_id, slot.generation + 1)
    spec = KernelSpec(
        blueprint_id=candidate.blueprint_id,
        blueprint_version=candidate.blueprint_version,
        parameters=candidate.parameters,
        shape=pressure.shape,
        init_seed=draws,
        torch_version=command.torch_version,
    )
    return GerminateSeed(
        at=command.facts.at,
        blueprint_id=candidate.blueprint_id,
        parameters=candidate.parameters,
        blend_mode=candidate.blend_mode,
        shape=pressure.shape,
        init_seed=draws,
        kernel_key=kernel_key(spec),
        after_blending=command.after_blending,
        evidence=_sanity(slot, pressure, live_seeds(command.facts)),
    )


def _sanity(slot: SeedObservation, pressure: SitePressure, live: int) -> dict[str, float]:
    """Return what Tamiyo knows of gate G0's inputs; Karn is asked about the blueprint where the seed is planted."""
    shape_known = bool(pressure.shape.input_size and pressure.shape.output_size)
    return {**slot.measured, "shape_known": float(shape_known), "live_seeds": float(live)}


def _no_pressure(settings: HeuristicSettings, pressures: list[SitePressure]) -> DecisionMade:
    largest = max(pressures, key=lambda pressure: _rank(pressure.r_squared))
    least = _least(settings, largest)
    if largest.r_squared >= least:
        reason = f"the pressure at {largest.seed_id} ({largest.r_squared:.3f}) predicts no lower loss"
    else:
        reason = (
            f"no site shows pressure above {least:.3g} (the largest is {largest.r_squared:.3g},"
            f" at {largest.seed_id}): the host is large enough"
        )
    return _wait(
        reason,
        inputs={f"{pressure.seed_id}.r_squared": pressure.r_squared for pressure in pressures},
        thresholds={"r_squared": least, "predicted_loss_decrease": 0.0},
    )


def _wait(
    reason: str, inputs: Mapping[str, float] | None = None, thresholds: Mapping[str, float] | None = None
) -> DecisionMade:
    return DecisionMade(action=Action.DECISION_ACTION_WAIT, reason=reason, inputs=inputs, thresholds=thresholds)
