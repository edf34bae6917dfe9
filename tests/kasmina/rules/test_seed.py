"""Every command against every stage: what happens, and what is refused."""

from collections.abc import Callable
from typing import get_args

import pytest

from esper.kasmina.rules.alpha import Ramp
from esper.kasmina.rules.seed import SEED, Seed, SeedCommand, SeedEvent, SeedRuleBroken
from esper.leyline.v1 import seed_pb2 as leyline
from esper.leyline.v1.enums_pb2 import AlphaCurve, BlendMode, CullInitiator
from esper.leyline.v1.enums_pb2 import SeedLifecycleStage as Stage
from esper.leyline.v1.site_pb2 import BlendOptions, Moment, Site, SiteShape

G0 = {"blueprint_known": 1, "kind_supported": 1, "parameters_in_bounds": 1, "shape_known": 1, "live_seeds": 0}
G1 = {
    "checksum_verified": 1,
    "guard_verified": 1,
    "output_shape_ok": 1,
    "output_finite": 1,
    "parameter_mismatch": 0,
    "shared_parameters": 0,
    "isolation_violations": 0,
    "identity_error": 0,
}
G2 = {
    "epochs_in_stage": 2,
    "r_squared": 0.2,
    "predicted_loss_decrease": 0.1,
    "best_alpha": 1,
    "probe_gain": 0.05,
    "weights_moved": 1,
    "nonfinite_batches": 0,
    "isolation_violations": 0,
}
G3 = {"ramp_complete": 1, "alpha_error": 0, "io_contract_ok": 1, "rms_ratio": 1.5, "nonfinite_batches": 0}
G4 = {"shadow_probes": 3, "shadow_nonfinite": 0, "score_drop": -0.1, "isolation_violations": 0}
LAST = {
    "contribution": 0.1,
    "epochs_in_stage": 5,
    "alpha_error": 0,
    "nonfinite_batches": 0,
    "isolation_violations": 0,
}
G5 = {"modules_left": 0, "hooks_left": 0, "optimizer_parameters_left": 0, "alpha": 0, "memory_left": 0}

LATER = Moment(step=1000, epoch=50)


def at(step: int) -> Moment:
    return Moment(step=step, epoch=step // 10)


GERMINATED = leyline.SeedGerminated(
    at=at(10), blueprint_id="BP021", blend_mode=BlendMode.BLEND_MODE_RESIDUAL, shape=SiteShape(), generation=1
)
BLENDING = leyline.SeedBlendingStarted(at=at(40), alpha_target=1.0, curve=AlphaCurve.ALPHA_CURVE_LINEAR, ramp_steps=20)
CULLED = leyline.SeedCulled(at=at(70), reason="does not pay", from_stage=Stage.SEED_STAGE_TRAINING)
TO_PROBATION: list[SeedEvent] = [
    leyline.SlotRegistered(site=Site(seed_id="s0")),
    GERMINATED,
    leyline.SeedTrainingStarted(at=at(11)),
    BLENDING,
    leyline.AlphaRampCompleted(at=at(60), alpha=1.0),
    leyline.SeedShadowingStarted(at=at(61)),
    leyline.SeedProbationStarted(at=at(65)),
]
TO_RESET: list[SeedEvent] = [
    *TO_PROBATION[:3],
    CULLED,
    leyline.SlotEmbargoed(at=at(80), until_epoch=9),
    leyline.SlotResetStarted(at=at(90)),
]

HISTORIES: dict[int, list[SeedEvent]] = {
    Stage.SEED_STAGE_UNKNOWN: [],
    Stage.SEED_STAGE_DORMANT: TO_PROBATION[:1],
    Stage.SEED_STAGE_GERMINATED: TO_PROBATION[:2],
    Stage.SEED_STAGE_TRAINING: TO_PROBATION[:3],
    Stage.SEED_STAGE_BLENDING: TO_PROBATION[:5],
    Stage.SEED_STAGE_SHADOWING: TO_PROBATION[:6],
    Stage.SEED_STAGE_PROBATIONARY: TO_PROBATION,
    Stage.SEED_STAGE_FOSSILIZED: [*TO_PROBATION, leyline.SeedFossilized(at=at(120), contribution=0.1)],
    Stage.SEED_STAGE_CULLED: TO_RESET[:4],
    Stage.SEED_STAGE_EMBARGOED: TO_RESET[:5],
    Stage.SEED_STAGE_RESETTING: TO_RESET,
    Stage.SEED_STAGE_TERMINATED: [TO_PROBATION[0], leyline.SlotTerminated(at=at(5))],
}

ALIVE = [
    Stage.SEED_STAGE_GERMINATED,
    Stage.SEED_STAGE_TRAINING,
    Stage.SEED_STAGE_BLENDING,
    Stage.SEED_STAGE_SHADOWING,
    Stage.SEED_STAGE_PROBATIONARY,
]

# command -> {stage it is allowed in: stage it leads to}
EDGES: list[tuple[SeedCommand, dict[int, int]]] = [
    (leyline.RegisterSlot(site=Site(seed_id="s0")), {Stage.SEED_STAGE_UNKNOWN: Stage.SEED_STAGE_DORMANT}),
    (leyline.GerminateSeed(at=LATER, evidence=G0), {Stage.SEED_STAGE_DORMANT: Stage.SEED_STAGE_GERMINATED}),
    (leyline.AttachKernel(at=LATER, evidence=G1), {Stage.SEED_STAGE_GERMINATED: Stage.SEED_STAGE_TRAINING}),
    (leyline.RefuseKernel(at=LATER, reason="digest_mismatch"), {Stage.SEED_STAGE_GERMINATED: Stage.SEED_STAGE_CULLED}),
    (
        leyline.BeginBlending(at=LATER, alpha_target=1.0, ramp_steps=5, evidence=G2),
        {Stage.SEED_STAGE_TRAINING: Stage.SEED_STAGE_BLENDING},
    ),
    (leyline.BeginShadowing(at=LATER, evidence=G3), {Stage.SEED_STAGE_BLENDING: Stage.SEED_STAGE_SHADOWING}),
    (leyline.BeginProbation(at=LATER, evidence=G4), {Stage.SEED_STAGE_SHADOWING: Stage.SEED_STAGE_PROBATIONARY}),
    (
        leyline.RetargetAlpha(at=LATER, alpha_target=0.5, ramp_steps=5),
        {
            # In this history alpha has reached its target.
            Stage.SEED_STAGE_BLENDING: Stage.SEED_STAGE_BLENDING,
            Stage.SEED_STAGE_SHADOWING: Stage.SEED_STAGE_BLENDING,
            Stage.SEED_STAGE_PROBATIONARY: Stage.SEED_STAGE_BLENDING,
        },
    ),
    (leyline.FossilizeSeed(at=LATER, evidence=LAST), {Stage.SEED_STAGE_PROBATIONARY: Stage.SEED_STAGE_FOSSILIZED}),
    (
        leyline.CullSeed(at=LATER, reason="by hand"),
        dict.fromkeys([*ALIVE, Stage.SEED_STAGE_CULLED], Stage.SEED_STAGE_CULLED),
    ),
    (leyline.EmbargoSlot(at=LATER, until_epoch=60), {Stage.SEED_STAGE_CULLED: Stage.SEED_STAGE_EMBARGOED}),
    (leyline.BeginReset(at=LATER), {Stage.SEED_STAGE_EMBARGOED: Stage.SEED_STAGE_RESETTING}),
    (leyline.ReopenSlot(at=LATER, evidence=G5), {Stage.SEED_STAGE_RESETTING: Stage.SEED_STAGE_DORMANT}),
    (
        leyline.TerminateSlot(at=LATER),
        {
            Stage.SEED_STAGE_DORMANT: Stage.SEED_STAGE_TERMINATED,
            Stage.SEED_STAGE_FOSSILIZED: Stage.SEED_STAGE_TERMINATED,
        },
    ),
    # Not while alpha rests, as it does in this history of BLENDING; `test_a_ramp_...` has the others.
    (leyline.CompleteRamp(at=LATER), {}),
    (leyline.PauseRamp(at=LATER), {}),
    (leyline.RefuseSeedCommand(at=LATER, command_type="X", reason="y"), {stage: stage for stage in HISTORIES}),
]

# From which stage a seed may come to which, T1-T13: all other cells of the twelve by twelve are refused.
TRANSITIONS = {
    (Stage.SEED_STAGE_UNKNOWN, Stage.SEED_STAGE_DORMANT),
    (Stage.SEED_STAGE_DORMANT, Stage.SEED_STAGE_GERMINATED),
    (Stage.SEED_STAGE_DORMANT, Stage.SEED_STAGE_TERMINATED),
    (Stage.SEED_STAGE_GERMINATED, Stage.SEED_STAGE_TRAINING),
    (Stage.SEED_STAGE_TRAINING, Stage.SEED_STAGE_BLENDING),
    (Stage.SEED_STAGE_BLENDING, Stage.SEED_STAGE_SHADOWING),
    (Stage.SEED_STAGE_SHADOWING, Stage.SEED_STAGE_PROBATIONARY),
    (Stage.SEED_STAGE_SHADOWING, Stage.SEED_STAGE_BLENDING),
    (Stage.SEED_STAGE_PROBATIONARY, Stage.SEED_STAGE_BLENDING),
    (Stage.SEED_STAGE_PROBATIONARY, Stage.SEED_STAGE_FOSSILIZED),
    (Stage.SEED_STAGE_FOSSILIZED, Stage.SEED_STAGE_TERMINATED),
    *((stage, Stage.SEED_STAGE_CULLED) for stage in ALIVE),
    (Stage.SEED_STAGE_CULLED, Stage.SEED_STAGE_EMBARGOED),
    (Stage.SEED_STAGE_EMBARGOED, Stage.SEED_STAGE_RESETTING),
    (Stage.SEED_STAGE_RESETTING, Stage.SEED_STAGE_DORMANT),
}


def seed_in(stage: int) -> Seed:
    seed = SEED.fold(HISTORIES[stage])
    assert seed.stage == stage
    return seed


@pytest.mark.parametrize("stage", list(HISTORIES), ids=Stage.Name)
@pytest.mark.parametrize(("command", "edges"), EDGES, ids=[type(command).__name__ for command, _ in EDGES])
def test_a_command_moves_a_seed_along_its_edges_and_is_refused_elsewhere(
    stage: int, command: SeedCommand, edges: dict[int, int]
):
    seed = seed_in(stage)
    if stage not in edges:
        with pytest.raises(SeedRuleBroken, match=type(command).__name__):
            SEED.decide(seed, command)
        return
    assert SEED.fold(SEED.decide(seed, command), seed).stage == edges[stage]


def test_every_type_of_command_is_in_the_table():
    # A rollback puts a slot back into any stage; tests/kasmina/rules/test_rebasing.py has it.
    assert {type(command) for command, _ in EDGES} == set(get_args(SeedCommand)) - {leyline.RebaseSeed}


@pytest.mark.parametrize("target", list(HISTORIES), ids=Stage.Name)
@pytest.mark.parametrize("source", list(HISTORIES), ids=Stage.Name)
def test_a_seed_comes_from_one_stage_to_another_only_along_the_thirteen_transitions(source: int, target: int):
    reached: set[int] = set()
    for command, _ in EDGES:
        try:
            events = SEED.decide(seed_in(source), command)
        except SeedRuleBroken:
            continue
        reached |= {SEED.fold(events[:count], seed_in(source)).stage for count in range(1, len(events) + 1)}
    assert (target in reached - {source}) == ((source, target) in TRANSITIONS)


GATED: list[tuple[int, Callable[[dict[str, float]], SeedCommand], dict[str, float]]] = [
    (Stage.SEED_STAGE_GERMINATED, lambda evidence: leyline.AttachKernel(at=LATER, evidence=evidence), G1),
    (
        Stage.SEED_STAGE_TRAINING,
        lambda evidence: leyline.BeginBlending(at=LATER, alpha_target=1, ramp_steps=5, evidence=evidence),
        G2,
    ),
    (Stage.SEED_STAGE_BLENDING, lambda evidence: leyline.BeginShadowing(at=LATER, evidence=evidence), G3),
    (Stage.SEED_STAGE_SHADOWING, lambda evidence: leyline.BeginProbation(at=LATER, evidence=evidence), G4),
]
MISSING = [(stage, make, evidence, name) for stage, make, evidence in GATED for name in evidence]


@pytest.mark.parametrize(("stage", "make", "evidence", "name"), MISSING, ids=[f"{row[0]}-{row[3]}" for row in MISSING])
def test_an_input_that_was_not_measured_fails_its_gate_and_culls_the_seed(
    stage: int, make: Callable[[dict[str, float]], SeedCommand], evidence: dict[str, float], name: str
):
    seed = seed_in(stage)
    events = SEED.decide(seed, make({key: value for key, value in evidence.items() if key != name}))
    assert isinstance(events[0], leyline.GateEvaluated)
    assert list(events[0].checks_failed) == [name]
    assert isinstance(events[1], leyline.SeedCulled)
    assert events[1].initiator == CullInitiator.CULL_INITIATOR_GATE
    assert f"{name} not measured" in events[1].reason


@pytest.mark.parametrize("name", sorted(LAST))
def test_a_seed_that_fails_the_last_gate_stays_on_probation(name: str):
    seed = seed_in(Stage.SEED_STAGE_PROBATIONARY)
    evidence = {key: value for key, value in LAST.items() if key != name}
    events = SEED.decide(seed, leyline.FossilizeSeed(at=LATER, evidence=evidence))
    assert [type(event) for event in events] == [leyline.GateEvaluated]
    assert SEED.fold(events, seed).stage == Stage.SEED_STAGE_PROBATIONARY


@pytest.mark.parametrize("name", sorted(G5))
def test_a_slot_with_something_left_in_it_is_not_reopened(name: str):
    seed = seed_in(Stage.SEED_STAGE_RESETTING)
    events = SEED.decide(seed, leyline.ReopenSlot(at=LATER, evidence=G5 | {name: 1.0}))
    assert SEED.fold(events, seed).stage == Stage.SEED_STAGE_RESETTING


def test_a_seed_that_has_just_moved_must_train_a_step_before_it_moves_again():
    seed = seed_in(Stage.SEED_STAGE_TRAINING)
    too_soon = leyline.BeginBlending(at=at(11), alpha_target=1.0, ramp_steps=5, evidence=G2)
    with pytest.raises(SeedRuleBroken, match="no optimizer step"):
        SEED.decide(seed, too_soon)


def test_an_embargo_is_kept_to_its_end():
    seed = seed_in(Stage.SEED_STAGE_EMBARGOED)
    with pytest.raises(SeedRuleBroken, match="until epoch 9"):
        SEED.decide(seed, leyline.BeginReset(at=at(85)))


def test_a_ramp_is_complete_only_when_alpha_has_arrived():
    seed = SEED.fold(TO_PROBATION[:4])
    with pytest.raises(SeedRuleBroken, match="not reached"):
        SEED.decide(seed, leyline.CompleteRamp(at=at(59)))
    assert SEED.decide(seed, leyline.CompleteRamp(at=at(60))) == [leyline.AlphaRampCompleted(at=at(60), alpha=1.0)]


@pytest.mark.parametrize("curve", [curve for curve in AlphaCurve.values() if curve], ids=AlphaCurve.Name)
def test_a_paused_ramp_rests_where_it_is_and_goes_on_to_another_target(curve: AlphaCurve):
    begun = leyline.SeedBlendingStarted(at=at(40), alpha_target=1.0, curve=curve, ramp_steps=20)
    seed = SEED.fold([*TO_PROBATION[:3], begun])
    (paused,) = SEED.decide(seed, leyline.PauseRamp(at=at(45)))
    assert paused == leyline.AlphaRampPaused(at=at(45), alpha=Ramp(40, 20, 0.0, 1.0, curve).at(45))
    seed = SEED.fold([paused], seed)
    assert seed.ramp is not None
    assert (seed.stage, seed.ramp.at(999)) == (Stage.SEED_STAGE_BLENDING, paused.alpha)
    for command in (leyline.PauseRamp(at=LATER), leyline.CompleteRamp(at=LATER), leyline.BeginShadowing(at=LATER)):
        with pytest.raises(SeedRuleBroken):
            SEED.decide(seed, command)
    (onward,) = SEED.decide(seed, leyline.RetargetAlpha(at=at(50), alpha_target=0.5, ramp_steps=5))
    assert (onward.alpha_from, onward.alpha_target) == (paused.alpha, 0.5)
    assert not SEED.fold([onward], seed).alpha_holds


def test_alpha_gets_no_other_target_while_it_is_on_its_way():
    seed = SEED.fold(TO_PROBATION[:4])
    with pytest.raises(SeedRuleBroken, match="RetargetAlpha"):
        SEED.decide(seed, leyline.RetargetAlpha(at=at(50), alpha_target=0.5, ramp_steps=5))


@pytest.mark.parametrize(("alpha", "steps"), [(0.0, 5), (1.5, 5), (0.5, 0)])
def test_alpha_ends_above_0_and_at_most_at_1_after_a_step_at_least(alpha: float, steps: int):
    with pytest.raises(SeedRuleBroken, match="cull the seed"):
        SEED.decide(
            seed_in(Stage.SEED_STAGE_PROBATIONARY),
            leyline.RetargetAlpha(at=LATER, alpha_target=alpha, ramp_steps=steps),
        )


def test_a_seed_is_not_germinated_with_a_blend_that_its_site_cannot_have():
    shape = SiteShape(input_size=[3], output_size=[3], dtype="float32")
    command = leyline.GerminateSeed(
        at=LATER, evidence=G0, blend_mode=BlendMode.BLEND_MODE_CONFIDENCE, blend=BlendOptions(adds=True), shape=shape
    )
    with pytest.raises(SeedRuleBroken, match="CONFIDENCE reads logits"):
        SEED.decide(seed_in(Stage.SEED_STAGE_DORMANT), command)


def test_a_gate_opens_along_a_line():
    gated = leyline.SeedGerminated(at=at(10), blend_mode=BlendMode.BLEND_MODE_GATE, shape=SiteShape(), generation=1)
    seed = SEED.fold([TO_PROBATION[0], gated, TO_PROBATION[2]])
    command = leyline.BeginBlending(at=LATER, alpha_target=1.0, ramp_steps=5, evidence=G2)
    command.curve = AlphaCurve.ALPHA_CURVE_COSINE
    with pytest.raises(SeedRuleBroken, match="linear curve"):
        SEED.decide(seed, command)
    command.curve = AlphaCurve.ALPHA_CURVE_LINEAR
    assert SEED.fold(SEED.decide(seed, command), seed).stage == Stage.SEED_STAGE_BLENDING


def test_a_second_seed_in_a_slot_begins_a_new_generation():
    seed = SEED.fold([*TO_RESET, leyline.SlotReopened(at=at(100))])
    events = SEED.decide(seed, leyline.GerminateSeed(at=LATER, evidence=G0))
    assert SEED.fold(events, seed).generation == 2


def test_a_refused_command_is_recorded_and_changes_nothing():
    seed = seed_in(Stage.SEED_STAGE_FOSSILIZED)
    events = SEED.decide(seed, leyline.RefuseSeedCommand(at=LATER, command_type="CullSeed", reason="fossilized"))
    assert SEED.fold(events, seed).stage == Stage.SEED_STAGE_FOSSILIZED
