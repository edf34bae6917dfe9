"""What the controller does about a seed that is there."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esper.kasmina.rules.gates import GateLimits, evaluate
from esper.leyline.v1.enums_pb2 import AlphaCurve, CullInitiator
from esper.leyline.v1.enums_pb2 import DecisionAction as Action
from esper.leyline.v1.enums_pb2 import SeedLifecycleGate as Gate
from esper.leyline.v1.enums_pb2 import SeedLifecycleStage as Stage
from esper.leyline.v1.policy_pb2 import DecisionMade, DecisionMissed, MissDecision, WithdrawDecision
from esper.leyline.v1.site_pb2 import Moment
from esper.tamiyo.errors import PolicyRuleBroken
from esper.tamiyo.rules.heuristic import caused_command, policy
from esper.tamiyo.rules.settings import HeuristicSettings
from tests.tamiyo.epochs import PROMISE, epoch, free, offer, pressure, slot

# How early a decision may come is a test of its own.
POLICY = policy(HeuristicSettings(min_epoch=1))

UNPROMISING = {**PROMISE, "probe_gain": -0.01}


def only(state, command) -> DecisionMade:
    (decision,) = POLICY.decide(state, command)
    return decision


def action(state, command) -> str:
    return Action.Name(only(state, command).action).removeprefix("DECISION_ACTION_")


def training(epochs: int, **measured: float):
    return epoch(1 + epochs, slot("TRAINING", epochs=epochs, **measured))


def probation(epochs: int, contribution: float, *, number: int = 11, score: float | None = 0.9):
    return epoch(number, slot("PROBATIONARY", epochs=epochs, alpha=1.0, contribution=contribution), score=score)


TRAINING = [
    ("promising but young", training(1, **PROMISE), "WAIT"),
    ("promising", training(2, **PROMISE), "BLEND"),
    ("promising late", training(9, **PROMISE), "BLEND"),
    ("unpromising but within patience", training(3, **UNPROMISING), "WAIT"),
    ("unpromising", training(4, **UNPROMISING), "CULL"),
    ("never measured", training(4), "CULL"),
    *((f"{name} missing", training(2, **{k: v for k, v in PROMISE.items() if k != name}), "WAIT") for name in PROMISE),
    *((f"{name} zero", training(2, **{**PROMISE, name: 0.0}), "WAIT") for name in PROMISE),
]
PROBATION = [
    ("young and paying", probation(4, 0.05), "WAIT"),
    ("paying", probation(5, 0.05), "FOSSILIZE"),
    ("paying just enough", probation(5, 0.01), "FOSSILIZE"),
    ("not paying", probation(5, 0.009), "CULL"),
    ("young and not paying", probation(4, 0.0), "WAIT"),
    ("harmful at once", probation(1, -0.03), "WAIT"),
    ("harmful", probation(2, -0.03), "CULL"),
    ("slightly harmful", probation(2, -0.02), "WAIT"),
    ("harmful but too young a seed", probation(2, -0.03, number=5), "WAIT"),
    ("not paying but too young a seed", probation(5, 0.0, number=5), "WAIT"),
    ("holding the run hostage", probation(5, 0.05, score=0.55), "CULL"),
    ("leaned on too little to be a ransom", probation(4, 0.001, score=0.55), "WAIT"),
    ("score not measured", probation(5, 0.05, score=None), "FOSSILIZE"),
]


@pytest.mark.parametrize(("command", "expected"), [row[1:] for row in TRAINING], ids=[row[0] for row in TRAINING])
def test_a_training_seed_is_let_in_on_promise_and_removed_without(grown, command, expected):
    assert action(grown, command) == expected


@pytest.mark.parametrize(("command", "expected"), [row[1:] for row in PROBATION], ids=[row[0] for row in PROBATION])
def test_a_seed_on_probation_is_kept_when_it_pays_and_removed_when_not(grown, command, expected):
    assert action(grown, command) == expected


def test_blending_goes_to_the_best_alpha_over_two_epochs_of_steps(grown):
    blend = only(grown, training(2, **PROMISE)).blend
    assert (blend.alpha_target, blend.ramp_steps, blend.curve) == (0.5, 250, AlphaCurve.ALPHA_CURVE_COSINE)


def test_a_command_carries_all_that_was_measured_as_evidence(grown):
    blend = only(grown, training(2, **PROMISE, weights_moved=1.0, nonfinite_batches=0.0)).blend
    assert blend.evidence == {**PROMISE, "weights_moved": 1.0, "nonfinite_batches": 0.0, "epochs_in_stage": 2.0}


def test_what_the_controller_calls_promise_is_enough_for_gate_g2(grown):
    healthy = {"weights_moved": 1.0, "nonfinite_batches": 0.0, "isolation_violations": 0.0}
    blend = only(grown, training(2, **PROMISE, **healthy)).blend
    assert evaluate(Gate.SEED_GATE_G2_STABILITY, blend.evidence, blend.at, GateLimits()).passed


def test_what_the_controller_keeps_is_enough_for_the_last_gate(grown):
    healthy = {"alpha_error": 0.0, "nonfinite_batches": 0.0, "isolation_violations": 0.0}
    kept = only(grown, epoch(11, slot("PROBATIONARY", epochs=5, contribution=0.01, **healthy))).fossilize
    verdict = evaluate(Gate.SEED_GATE_G4_SYSTEM_IMPACT, kept.evidence, kept.at, GateLimits(), "fossilize")
    assert verdict.passed


def test_a_cull_says_its_numbers_and_who_asked(grown):
    decision = only(grown, training(4, **UNPROMISING))
    assert decision.cull.initiator == CullInitiator.CULL_INITIATOR_POLICY
    assert "probe_gain -0.01" in decision.cull.reason
    assert decision.inputs["probe_gain"] == -0.01
    assert decision.thresholds["epochs_in_stage"] == 4.0


def test_a_ransom_is_named_with_the_loss_since_germination(grown):
    decision = only(grown, probation(5, 0.05, score=0.55))
    assert "+0.0500" in decision.reason
    assert decision.inputs["score_lost"] == pytest.approx(0.05)


def test_a_finished_ramp_is_followed_by_the_shadow(grown):
    command = epoch(6, slot("BLENDING", epochs=2, alpha=0.5, ramp_complete=1.0, alpha_error=0.0))
    assert action(grown, command) == "SHADOW"
    assert only(grown, command).shadow.evidence["alpha_error"] == 0.0


WAITING = [
    ("GERMINATED", "waits for its kernel"),
    ("BLENDING", "is being blended in"),
    ("SHADOWING", "switched off"),
    ("PROBATIONARY", "was not measured"),
]


@pytest.mark.parametrize(("stage", "reason"), WAITING)
def test_a_seed_with_nothing_to_do_waits_for_a_reason(grown, stage, reason):
    decision = only(grown, epoch(3, slot(stage, epochs=9)))
    assert decision.action == Action.DECISION_ACTION_WAIT
    assert reason in decision.reason


def test_a_wait_tells_of_every_seed_under_its_own_name(grown):
    decision = only(grown, training(3, **UNPROMISING))
    assert decision.inputs["s0.probe_gain"] == -0.01
    assert decision.reason.endswith("no slot is free")


def test_a_seed_planted_by_hand_is_left_to_that_hand():
    assert action(POLICY.initial, training(9, **UNPROMISING)) == "WAIT"
    assert "s0" not in only(POLICY.initial, training(9, **UNPROMISING)).reason


def test_a_seed_and_a_germination_elsewhere_are_decided_in_one_epoch(grown):
    blending = slot("TRAINING", "s0", epochs=2, **PROMISE)
    command = epoch(3, blending, free("s1"), pressures=(pressure(seed_id="s1"),), offers=(offer(seed_id="s1"),))
    assert [decision.WhichOneof("command") for decision in POLICY.decide(grown, command)] == ["blend", "germinate"]


def test_a_fossilized_seed_needs_no_decision(grown):
    assert only(grown, epoch(12, slot("FOSSILIZED", epochs=1, contribution=-1.0))).reason == "no slot is free"


def test_an_epoch_is_judged_once(grown):
    with pytest.raises(PolicyRuleBroken, match="epoch 1 was judged already"):
        POLICY.decide(grown, epoch(1))


def test_a_missed_decision_is_recorded_and_the_next_epoch_judged(grown):
    at = Moment(step=250, epoch=2)
    missed = POLICY.decide(grown, MissDecision(at=at, reason="no acknowledgement in 2 s"))
    assert missed == [DecisionMissed(at=at, reason="no acknowledgement in 2 s")]
    state = POLICY.fold(missed, grown)
    assert state.missed == 1
    assert action(state, training(2, **PROMISE)) == "BLEND"


def withdrawn(state, decision: DecisionMade):
    """Return *state* after *decision* was recorded and then withdrawn."""
    command = WithdrawDecision(
        at=decision.at,
        decision_id="e1",
        action=decision.action,
        seed_id=decision.seed_id,
        blueprint_id=decision.blueprint_id,
        reason="lost",
    )
    after = POLICY.fold([decision], state)
    return POLICY.fold(POLICY.decide(after, command), after)


def test_a_cull_that_never_happened_is_held_against_nobody(grown):
    state = withdrawn(grown, only(grown, training(4, **UNPROMISING)))
    assert (state.lives, state.penalties, state.failures) == (grown.lives, {}, {})
    assert action(state, training(5, **UNPROMISING)) == "CULL"


def test_of_two_culls_the_one_that_never_happened_is_taken_back(grown):
    culled = POLICY.fold([only(grown, training(4, **UNPROMISING))], grown)
    again = POLICY.fold(POLICY.decide(culled, epoch(6, free(), pressures=(pressure(),), offers=(offer(),))), culled)
    life = again.lives["s0"]
    seed = slot("TRAINING", epochs=4, generation=life.generation, **UNPROMISING)
    (decision,) = POLICY.decide(again, epoch(11, seed))
    state = withdrawn(again, decision)
    before = again.penalties["BP021"].at(11, 0.5)
    assert state.penalties["BP021"].at(11, 0.5) == pytest.approx(before)
    assert state.failures == again.failures


def test_a_germination_that_never_happened_is_not_taken_for_a_seed_that_was_lost():
    command = epoch(1, free(), pressures=(pressure(),), offers=(offer(),))
    state = withdrawn(POLICY.initial, only(POLICY.initial, command))
    assert state.penalties == {}
    again = only(state, epoch(2, free(), pressures=(pressure(),), offers=(offer(),)))
    assert (Action.Name(again.action), again.blueprint_id) == ("DECISION_ACTION_GERMINATE", "BP021")


def test_a_miss_of_an_epoch_that_lies_behind_is_refused(grown):
    state = POLICY.fold(POLICY.decide(grown, training(2, **PROMISE)), grown)
    with pytest.raises(PolicyRuleBroken):
        POLICY.decide(state, MissDecision(at=Moment(epoch=2)))


def test_the_memory_of_a_seed_outlives_its_cull(grown):
    state = POLICY.fold(POLICY.decide(grown, training(4, **UNPROMISING)), grown)
    life = state.lives["s0"]
    assert (life.ended, life.germinated_epoch, life.score_at_germination) == (True, 1, 0.6)
    assert state.penalties["BP021"].at(6, 0.5) == 1.0
    assert state.last["s0"] == Action.DECISION_ACTION_CULL


NUMBERS = st.floats(allow_nan=True, allow_infinity=True)
NAMES = st.sampled_from([*PROMISE, "contribution", "ramp_complete", "alpha_error"])
STAGES = st.sampled_from([name.removeprefix("SEED_STAGE_") for name in dict(Stage.items())])


@given(stage=STAGES, measured=st.dictionaries(NAMES, NUMBERS), epochs=st.integers(0, 30), number=st.integers(2, 40))
def test_whatever_is_measured_there_is_a_decision_whose_command_fits_the_stage(stage, measured, epochs, number):
    begun = POLICY.decide(POLICY.initial, epoch(1, free(), pressures=(pressure(),), offers=(offer(),)))
    decisions = POLICY.decide(POLICY.fold(begun), epoch(number, slot(stage, epochs=epochs, **measured)))
    assert decisions
    assert all(decision.reason for decision in decisions)
    allowed = {
        "TRAINING": {"BeginBlending", "CullSeed"},
        "BLENDING": {"BeginShadowing"},
        "PROBATIONARY": {"FossilizeSeed", "CullSeed"},
    }
    commands = [command for command in map(caused_command, decisions) if command is not None]
    assert {type(command).__name__ for command in commands} <= allowed.get(stage, set())
    assert len(commands) <= 1
