"""The gates G0-G5: which measured numbers a seed must show before it may pass an edge."""

import operator
from collections.abc import Callable, Mapping

import msgspec

from esper.leyline.v1.enums_pb2 import SeedLifecycleGate as Gate
from esper.leyline.v1.seed_pb2 import GateEvaluated
from esper.leyline.v1.site_pb2 import Moment


class Check(msgspec.Struct, frozen=True):
    """One comparison of a measured input with a limit; an input that was not measured fails."""

    input: str
    relation: str
    limit: float

    def holds(self, measured: Mapping[str, float]) -> bool:
        """Tell whether the input was measured and stands in the relation to the limit. NaN never does."""
        value = measured.get(self.input)
        return value is not None and RELATIONS[self.relation](value, self.limit)


RELATIONS: Mapping[str, Callable[[float, float], bool]] = {
    "==": operator.eq,
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}


class GateLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The limits of the strict profile that a user may move. Scores are in the unit of the user's `evaluate`."""

    max_live_seeds: int = 32
    max_identity_error: float = 1e-5
    min_training_epochs: int = 2
    max_rms_ratio: float = 10.0
    min_shadow_probes: int = 3
    max_score_drop: float = 0.02
    min_probation_epochs: int = 5
    min_contribution: float = 0.01
    max_memory_left: float = 0.01


FOSSILIZE = "fossilize"
STRICT = "strict"
ALPHA_TOLERANCE = 1e-6
MEMORY_LEFT = "memory_left"
# Asked for since version 0.2: an older record is complete without them.
LATER_CHECKS = frozenset({MEMORY_LEFT})


def _g0(limits: GateLimits) -> tuple[Check, ...]:
    return (
        Check("blueprint_known", "==", 1.0),
        Check("kind_supported", "==", 1.0),
        Check("parameters_in_bounds", "==", 1.0),
        Check("shape_known", "==", 1.0),
        Check("live_seeds", "<", limits.max_live_seeds),
    )


def _g1(limits: GateLimits) -> tuple[Check, ...]:
    return (
        Check("checksum_verified", "==", 1.0),
        Check("guard_verified", "==", 1.0),
        Check("output_shape_ok", "==", 1.0),
        Check("output_finite", "==", 1.0),
        Check("parameter_mismatch", "==", 0.0),
        Check("shared_parameters", "==", 0.0),
        Check("isolation_violations", "==", 0.0),
        Check("identity_error", "<=", limits.max_identity_error),
    )


def _g2(limits: GateLimits) -> tuple[Check, ...]:
    return (
        Check("epochs_in_stage", ">=", limits.min_training_epochs),
        Check("r_squared", ">", 0.0),
        Check("predicted_loss_decrease", ">", 0.0),
        Check("best_alpha", ">", 0.0),
        Check("probe_gain", ">", 0.0),
        Check("weights_moved", "==", 1.0),
        Check("nonfinite_batches", "==", 0.0),
        Check("isolation_violations", "==", 0.0),
    )


def _g3(limits: GateLimits) -> tuple[Check, ...]:
    return (
        Check("ramp_complete", "==", 1.0),
        Check("alpha_error", "<=", ALPHA_TOLERANCE),
        Check("io_contract_ok", "==", 1.0),
        Check("rms_ratio", "<=", limits.max_rms_ratio),
        Check("nonfinite_batches", "==", 0.0),
    )


def _g4(limits: GateLimits) -> tuple[Check, ...]:
    return (
        Check("shadow_probes", ">=", limits.min_shadow_probes),
        Check("shadow_nonfinite", "==", 0.0),
        Check("score_drop", "<=", limits.max_score_drop),
        Check("isolation_violations", "==", 0.0),
    )


def _fossilize(limits: GateLimits) -> tuple[Check, ...]:
    return (
        Check("contribution", ">=", limits.min_contribution),
        Check("epochs_in_stage", ">=", limits.min_probation_epochs),
        Check("alpha_error", "<=", ALPHA_TOLERANCE),
        Check("nonfinite_batches", "==", 0.0),
        Check("isolation_violations", "==", 0.0),
    )


def _g5(limits: GateLimits) -> tuple[Check, ...]:
    names = ("modules_left", "hooks_left", "optimizer_parameters_left", "alpha")
    return (*(Check(name, "==", 0.0) for name in names), Check(MEMORY_LEFT, "<=", limits.max_memory_left))


_ASKED: Mapping[tuple[Gate, str], Callable[[GateLimits], tuple[Check, ...]]] = {
    (Gate.SEED_GATE_G0_SANITY, STRICT): _g0,
    (Gate.SEED_GATE_G1_GRADIENT_HEALTH, STRICT): _g1,
    (Gate.SEED_GATE_G2_STABILITY, STRICT): _g2,
    (Gate.SEED_GATE_G3_INTERFACE, STRICT): _g3,
    (Gate.SEED_GATE_G4_SYSTEM_IMPACT, STRICT): _g4,
    (Gate.SEED_GATE_G4_SYSTEM_IMPACT, FOSSILIZE): _fossilize,
    (Gate.SEED_GATE_G5_RESET, STRICT): _g5,
}


def checks(gate: Gate, profile: str, limits: GateLimits) -> tuple[Check, ...]:
    """Return what *gate* asks for under *profile*: "strict", or "fossilize" for G4's second use.

    Raises:
        KeyError: there is no such gate with such a profile.
    """
    return _ASKED[gate, profile](limits)


def evaluate(
    gate: Gate, measured: Mapping[str, float], at: Moment, limits: GateLimits, profile: str = STRICT
) -> GateEvaluated:
    """Return *gate*'s verdict on *measured*, with every input it read and every limit it used."""
    asked = checks(gate, profile, limits)
    passed = [check.input for check in asked if check.holds(measured)]
    failed = [check.input for check in asked if not check.holds(measured)]
    return GateEvaluated(
        at=at,
        gate=gate,
        profile=profile,
        passed=not failed,
        checks_passed=passed,
        checks_failed=failed,
        inputs={check.input: measured[check.input] for check in asked if check.input in measured},
        thresholds={check.input: check.limit for check in asked},
    )


def verdict_again(recorded: GateEvaluated) -> GateEvaluated:
    """Judge once more, from nothing but the inputs and limits that *recorded* carries."""
    asked = [
        Check(check.input, check.relation, recorded.thresholds[check.input])
        for check in checks(recorded.gate, recorded.profile, GateLimits())
        if check.input in recorded.thresholds
    ]
    missing = [
        check.input
        for check in checks(recorded.gate, recorded.profile, GateLimits())
        if check.input not in recorded.thresholds and check.input not in LATER_CHECKS
    ]
    failed = [check.input for check in asked if not check.holds(recorded.inputs)] + missing
    return GateEvaluated(
        at=recorded.at,
        gate=recorded.gate,
        profile=recorded.profile,
        passed=not failed,
        checks_passed=[check.input for check in asked if check.holds(recorded.inputs)],
        checks_failed=failed,
        inputs=recorded.inputs,
        thresholds=recorded.thresholds,
    )


def shortfall(verdict: GateEvaluated) -> str:
    """Say in a few words what *verdict* failed on: "probe_gain 0 (limit 0)", or "... not measured"."""
    return "; ".join(
        f"{name} {verdict.inputs[name]:g} (limit {verdict.thresholds[name]:g})"
        if name in verdict.inputs
        else f"{name} not measured"
        for name in verdict.checks_failed
    )
