"""Where, what and when the controller grows."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esper.leyline.canonical import kernel_key
from esper.leyline.v1.enums_pb2 import DecisionAction as Action
from esper.leyline.v1.kernel_pb2 import KernelSpec
from esper.leyline.v1.policy_pb2 import DecisionMade
from esper.tamiyo.rules.germination import init_seed, worth_a_look
from esper.tamiyo.rules.heuristic import policy
from esper.tamiyo.rules.settings import HeuristicSettings
from tests.tamiyo.epochs import SPAN, epoch, free, offer, pressure, slot

# How early a decision may come is a test of its own.
POLICY = policy(HeuristicSettings(min_epoch=1))

WAIT, GERMINATE = Action.DECISION_ACTION_WAIT, Action.DECISION_ACTION_GERMINATE


def only(command, state=POLICY.initial, rules=POLICY) -> DecisionMade:
    (decision,) = rules.decide(state, command)
    return decision


def test_pressure_at_a_free_slot_germinates_the_first_offer():
    decision = only(epoch(1, free(), pressures=(pressure(0.142),), offers=(offer("BP021"), offer("BP002"))))
    assert (decision.action, decision.seed_id, decision.blueprint_id) == (GERMINATE, "s0", "BP021")
    assert decision.inputs["r_squared"] == 0.142
    assert decision.thresholds["r_squared"] == 0.01
    assert "0.142" in decision.reason
    assert decision.germinate.at == decision.at


def test_the_kernel_key_is_the_digest_of_what_will_be_built():
    seed = only(epoch(1, free(), pressures=(pressure(),), offers=(offer(),))).germinate
    spec = KernelSpec(
        blueprint_id="BP021",
        blueprint_version="1.0.0",
        parameters={"hidden_multiple": 4.0},
        shape=SPAN,
        init_seed=init_seed(7, "s0", 1),
        torch_version="2.13.0",
    )
    assert seed.kernel_key == kernel_key(spec)
    assert seed.init_seed == spec.init_seed


def test_the_command_carries_what_tamiyo_knows_of_gate_g0_and_leaves_the_blueprint_to_karn():
    seed = only(epoch(1, free(), slot("TRAINING", "s1"), pressures=(pressure(),), offers=(offer(),))).germinate
    assert dict(seed.evidence) == {"shape_known": 1.0, "live_seeds": 1.0}


def test_a_site_of_unknown_shape_is_said_to_be_so():
    unseen = pressure()
    unseen.ClearField("shape")
    assert only(epoch(1, free(), pressures=(unseen,), offers=(offer(),))).germinate.evidence["shape_known"] == 0.0


def test_of_several_sites_the_largest_predicted_decrease_wins():
    command = epoch(
        1,
        free("s0"),
        free("s1"),
        pressures=(pressure(0.4, 0.1, "s0"), pressure(0.1, 0.2, "s1")),
        offers=(offer(seed_id="s0"), offer("BP009", "s1")),
    )
    assert (only(command).seed_id, only(command).blueprint_id) == ("s1", "BP009")


def test_at_most_one_seed_germinates_per_epoch():
    command = epoch(
        1,
        free("s0"),
        free("s1"),
        pressures=(pressure(seed_id="s0"), pressure(seed_id="s1")),
        offers=(offer(seed_id="s0"), offer(seed_id="s1")),
    )
    assert [decision.action for decision in POLICY.decide(POLICY.initial, command)] == [GERMINATE]


def test_an_offer_that_cannot_learn_is_passed_over():
    command = epoch(1, free(), pressures=(pressure(),), offers=(offer("BP001", count=0), offer("BP002")))
    assert only(command).blueprint_id == "BP002"


FULL = (slot("TRAINING", "s1", blueprint_id="by hand"), slot("BLENDING", "s2", blueprint_id="by hand"))
RELUCTANCE = [
    ("no free slot", epoch(1, slot("FOSSILIZED"), pressures=(pressure(),)), "no slot is free"),
    ("enough live seeds", epoch(1, free(), *FULL, pressures=(pressure(),), offers=(offer(),)), "2 of at most 2"),
    ("not measured", epoch(1, free(), offers=(offer(),)), "no growth pressure was measured"),
    ("not observed free", epoch(1, pressures=(pressure(),), offers=(offer(),)), "no slot is free"),
    ("no pressure", epoch(1, free(), pressures=(pressure(0.006),), offers=(offer(),)), "the host is large enough"),
    ("no lower loss", epoch(1, free(), pressures=(pressure(0.3, 0.0),), offers=(offer(),)), "predicts no lower loss"),
    ("nothing on offer", epoch(1, free(), pressures=(pressure(),)), "nothing on offer for s0"),
    ("not a number", epoch(1, free(), pressures=(pressure(math.nan, 1.0),), offers=(offer(),)), "large enough"),
    ("infinite", epoch(1, free(), pressures=(pressure(math.inf, 1.0),), offers=(offer(),)), "predicts no lower loss"),
]


@pytest.mark.parametrize(("command", "reason"), [row[1:] for row in RELUCTANCE], ids=[row[0] for row in RELUCTANCE])
def test_nothing_grows_and_the_decision_says_why(command, reason):
    decision = only(command)
    assert decision.action == WAIT
    assert decision.WhichOneof("command") is None
    assert reason in decision.reason


def test_the_reason_for_not_growing_names_the_largest_pressure():
    command = epoch(3, free("s0"), free("s1"), pressures=(pressure(0.006), pressure(-0.1, seed_id="s1")))
    assert only(command).reason == (
        "no site shows pressure above 0.01 (the largest is 0.006, at s0): the host is large enough"
    )


def test_what_was_measured_on_more_rows_may_be_smaller():
    seen = pressure(0.002)
    seen.rows = 65_536
    decision = only(epoch(1, free(), pressures=(seen,), offers=(offer(),)))
    assert (decision.action, decision.thresholds["r_squared"]) == (GERMINATE, 0.00125)
    seen.rows = 2_048
    assert only(epoch(1, free(), pressures=(seen,), offers=(offer(),))).action == WAIT


def test_a_look_is_taken_only_where_something_could_grow():
    settings, calm = HeuristicSettings(), epoch(1, pressures=(pressure(0.001),)).facts
    assert not worth_a_look(settings, 2, 0, calm)
    assert not worth_a_look(settings, 3, settings.max_live_seeds, calm)
    assert [number for number in range(1, 33) if worth_a_look(settings, number, 0, calm)] == [
        *(3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32),
    ]


def test_a_host_that_showed_pressure_is_looked_at_again_at_once():
    asking = epoch(16, pressures=(pressure(0.14),)).facts
    assert worth_a_look(HeuristicSettings(), 17, 1, asking)


def test_every_decision_is_signed_with_policy_observation_moment_and_score():
    decision = only(epoch(1, free(), score=0.61))
    assert decision.policy_version == HeuristicSettings(min_epoch=1).version()
    assert (decision.observation_id, decision.at.epoch, decision.at.step) == ("e1", 1, 125)
    assert decision.inputs["score"] == 0.61


def test_another_limit_makes_another_policy_version():
    assert HeuristicSettings(min_pressure=0.1).version() != HeuristicSettings().version()


def test_a_limit_of_the_settings_is_the_one_that_decides():
    command = epoch(1, free(), pressures=(pressure(0.14),), offers=(offer(),))
    assert only(command, rules=policy(HeuristicSettings(min_pressure=0.2))).action == WAIT


def after_cull(epoch_number: int, blueprint_id: str = "BP021", seed_id: str = "s0") -> list[DecisionMade]:
    at = epoch(epoch_number).facts.at
    return [DecisionMade(at=at, action=Action.DECISION_ACTION_CULL, seed_id=seed_id, blueprint_id=blueprint_id)]


def test_after_a_cull_the_slot_tries_the_next_offer_and_in_time_the_first_again():
    offers, tried, state = (offer("BP021"), offer("BP002")), [], POLICY.initial
    for number in (1, 11, 21):
        decision = only(epoch(number, free(), pressures=(pressure(),), offers=offers), state)
        tried.append(decision.blueprint_id)
        state = POLICY.fold([decision, *after_cull(number + 5, decision.blueprint_id)], state)
    assert tried == ["BP021", "BP002", "BP021"]


@pytest.mark.parametrize(("number", "action"), [(7, WAIT), (8, GERMINATE)])
def test_a_blueprint_that_failed_often_is_avoided_everywhere_until_its_penalty_has_faded(number, action):
    state = POLICY.fold([cull for seed_id in ("s1", "s2", "s3") for cull in after_cull(6, seed_id=seed_id)])
    assert only(epoch(number, free(), pressures=(pressure(),), offers=(offer("BP021"),)), state).action == action


def test_nothing_grows_before_the_first_epoch_that_may():
    command = epoch(2, free(), pressures=(pressure(),), offers=(offer(),))
    decision = only(command, rules=policy(HeuristicSettings(min_epoch=3)))
    assert "too early to grow before epoch 3" in decision.reason
    assert (decision.inputs["epoch"], decision.thresholds["epoch"]) == (2.0, 3.0)


def test_a_seed_that_a_gate_refused_is_noticed_and_another_tried(grown):
    command = epoch(2, free(), pressures=(pressure(),), offers=(offer("BP021"), offer("BP002")))
    lost, next_one = POLICY.decide(grown, command)
    assert (lost.action, lost.seed_id, lost.blueprint_id) == (WAIT, "s0", "BP021")
    assert (next_one.action, next_one.blueprint_id) == (GERMINATE, "BP002")


@pytest.mark.parametrize("stage", ["CULLED", "EMBARGOED", "RESETTING"])
def test_a_seed_that_was_removed_by_others_is_noticed_once(grown, stage):
    first = POLICY.decide(grown, epoch(2, slot(stage)))
    second = POLICY.decide(POLICY.fold(first, grown), epoch(3, slot(stage)))
    assert ["did not keep" in decision.reason for decision in first] == [True, False]
    assert ["did not keep" in decision.reason for decision in second] == [False]


def test_a_second_generation_draws_other_numbers():
    first = only(epoch(1, free(), pressures=(pressure(),), offers=(offer(),)))
    second = only(epoch(9, free(generation=1), pressures=(pressure(),), offers=(offer(),)))
    assert first.germinate.init_seed != second.germinate.init_seed
    assert first.germinate.kernel_key != second.germinate.kernel_key


@given(st.integers(0, 2**64 - 1), st.integers(1, 1000))
def test_init_seeds_are_reproducible_and_differ_between_slots(run_seed, generation):
    draws = [init_seed(run_seed, seed_id, generation) for seed_id in ("s0", "s1", "s10")]
    assert draws == [init_seed(run_seed, seed_id, generation) for seed_id in ("s0", "s1", "s10")]
    assert all(0 <= draw < 2**63 for draw in draws)
    assert all(one != other for one, other in pairwise(draws))
