"""Every event can be said in words."""

import pytest

from esper.leyline.registry import EVENTS
from esper.leyline.v1.enums_pb2 import CullInitiator, SeedLifecycleGate, SeedLifecycleStage
from esper.leyline.v1.run_pb2 import RunRolledBack
from esper.leyline.v1.seed_pb2 import GateEvaluated, SeedCulled
from ops.cli.sentences import sentence


@pytest.mark.parametrize("name", EVENTS.names())
def test_every_event_type_has_a_sentence_of_its_own(name: str) -> None:
    found = EVENTS.lookup(name)
    assert found is not None
    assert sentence(found[0]())


def test_a_failed_gate_names_the_numbers_it_failed_on() -> None:
    verdict = GateEvaluated(
        gate=SeedLifecycleGate.SEED_GATE_G2_STABILITY,
        profile="strict",
        checks_failed=["probe_gain", "r_squared"],
        inputs={"probe_gain": -0.01},
        thresholds={"probe_gain": 0.0, "r_squared": 0.0},
    )
    assert sentence(verdict) == "G2 FAILED: probe_gain -0.01 (limit 0); r_squared not measured"


def test_a_cull_says_from_which_stage_by_whom_and_why() -> None:
    culled = SeedCulled(
        reason="it does not pay",
        initiator=CullInitiator.CULL_INITIATOR_POLICY,
        from_stage=SeedLifecycleStage.SEED_STAGE_PROBATIONARY,
    )
    assert sentence(culled) == "removed while probationary, by policy: it does not pay"


def test_an_enum_number_from_a_later_version_is_shown_as_the_number_it_is() -> None:
    later = SeedCulled.FromString(SeedCulled(reason="it shrank").SerializeToString() + b"\x20\x63")
    assert (later.from_stage, sentence(later)) == (99, "removed while 99, by unspecified: it shrank")


@pytest.mark.parametrize(
    ("last", "told"), [(80, "nothing on record is abandoned"), (84, "positions 81 to 84 are abandoned")]
)
def test_a_rollback_says_what_it_abandons(last: int, told: str) -> None:
    rolled_back = RunRolledBack(reason="by hand", abandoned_from=81, abandoned_until=last, timeline=1)
    assert told in sentence(rolled_back)
