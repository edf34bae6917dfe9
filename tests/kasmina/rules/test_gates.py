"""Gate verdicts: reproducible from what they recorded."""

import math

import pytest

from esper.kasmina.rules.gates import FOSSILIZE, STRICT, GateLimits, checks, evaluate, verdict_again
from esper.leyline.v1.enums_pb2 import SeedLifecycleGate as Gate
from esper.leyline.v1.seed_pb2 import GateEvaluated
from esper.leyline.v1.site_pb2 import Moment

USES = [
    *((gate, STRICT) for gate in Gate.values() if gate != Gate.SEED_GATE_UNKNOWN),
    (Gate.SEED_GATE_G4_SYSTEM_IMPACT, FOSSILIZE),
]
AT = Moment(step=7, epoch=1)


def satisfying(gate: Gate, profile: str) -> dict[str, float]:
    nudges = {"==": 0.0, ">=": 0.0, "<=": 0.0, ">": 1.0, "<": -1.0}
    return {check.input: check.limit + nudges[check.relation] for check in checks(gate, profile, GateLimits())}


@pytest.mark.parametrize(("gate", "profile"), USES)
def test_a_gate_passes_when_every_input_is_just_within_its_limit(gate: Gate, profile: str):
    assert evaluate(gate, satisfying(gate, profile), AT, GateLimits(), profile).passed


@pytest.mark.parametrize(("gate", "profile"), USES)
def test_nan_never_passes(gate: Gate, profile: str):
    verdict = evaluate(gate, dict.fromkeys(satisfying(gate, profile), math.nan), AT, GateLimits(), profile)
    assert not verdict.passed
    assert not verdict.checks_passed


@pytest.mark.parametrize(("gate", "profile"), USES)
def test_a_verdict_can_be_derived_again_from_what_it_recorded(gate: Gate, profile: str):
    limits = GateLimits(min_contribution=0.5, min_training_epochs=9)
    for measured in (satisfying(gate, profile), {}):
        verdict = evaluate(gate, measured, AT, limits, profile)
        assert verdict_again(verdict) == verdict


def test_a_forged_verdict_is_not_derived_again():
    honest = evaluate(Gate.SEED_GATE_G5_RESET, {"alpha": 1.0}, AT, GateLimits())
    forged = GateEvaluated()
    forged.CopyFrom(honest)
    forged.passed = True
    assert verdict_again(forged) != forged


def test_a_check_left_out_of_a_record_counts_as_failed():
    honest = evaluate(
        Gate.SEED_GATE_G5_RESET, dict.fromkeys(satisfying(Gate.SEED_GATE_G5_RESET, STRICT), 0.0), AT, GateLimits()
    )
    trimmed = GateEvaluated()
    trimmed.CopyFrom(honest)
    del trimmed.thresholds["hooks_left"]
    assert not verdict_again(trimmed).passed
