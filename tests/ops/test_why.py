"""`esper why`."""

from tests.ops.conftest import Esper


def test_why_walks_from_the_cull_over_the_decision_to_the_epoch(esper: Esper) -> None:
    links = esper("why", "latest", "19", "--json").rows()
    assert [(link["depth"], link["role"], link["type"]) for link in links] == [
        (0, "event", "SeedCulled"),
        (0, "same decision", "GateEvaluated"),
        (1, "cause", "DecisionMade"),
        (2, "cause", "EpochEnded"),
    ]


def test_why_shows_each_gate_input_against_its_limit(esper: Esper) -> None:
    gate = esper("why", "latest", "19", "--json").rows()[1]
    numbers = {number["name"]: number for number in gate["numbers"]}  # type: ignore[union-attr]
    assert numbers["probe_gain"] == {
        "name": "probe_gain",
        "value": -0.01,
        "relation": ">",
        "limit": 0.0,
        "holds": False,
    }
    assert numbers["epochs_in_stage"]["holds"] is True


def test_why_for_people_names_the_failed_number_and_the_next_commands(esper: Esper) -> None:
    ran = esper("why", "latest", "19")
    assert any("probe_gain" in line and "FAILED" in line for line in ran.out.splitlines())
    assert "esper replay f3a100000000 --at 18" in ran.err


def test_why_of_one_event_of_a_commit_starts_there(esper: Esper) -> None:
    links = esper("why", "latest", "19.0", "--json").rows()
    assert [link["type"] for link in links] == ["GateEvaluated", "DecisionMade", "EpochEnded"]


def test_why_of_a_position_beyond_the_log_says_where_it_ends(esper: Esper) -> None:
    ran = esper("why", "latest", "99")
    assert ran.code == 2
    assert "1 to 35" in ran.err


def test_why_of_no_position_is_wrong_usage(esper: Esper) -> None:
    assert esper("why", "latest", "the-beginning").code == 2
