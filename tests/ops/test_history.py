"""`esper runs` and `esper events`."""

from tests.ops.conftest import Esper
from tests.ops.story import RUN_ID


def test_runs_prints_one_row_per_run_with_what_became_of_it(esper: Esper) -> None:
    (row,) = esper("runs", "--json").rows()
    assert row["run_id"] == RUN_ID
    assert (row["status"], row["epochs"], row["germinated"], row["kept"], row["culled"]) == ("finished", 12, 2, 1, 1)
    assert (row["parameters_before"], row["parameters_now"]) == (1000, 1064)


def test_the_table_goes_to_stdout_and_the_hint_to_stderr(esper: Esper) -> None:
    ran = esper("runs")
    assert ran.code == 0
    assert ran.out.splitlines()[0].startswith("run ")
    assert "esper events latest" in ran.err


def test_events_of_a_slot_include_the_decisions_about_it(esper: Esper) -> None:
    rows = esper("events", "latest", "--seed", "s1", "--json").rows()
    assert [row["type"] for row in rows][-3:] == ["DecisionMade", "GateEvaluated", "SeedCulled"]


def test_events_of_a_type_are_found_in_any_case(esper: Esper) -> None:
    rows = esper("events", "latest", "--type", "seedculled", "--json").rows()
    assert [(row["position"], row["index"], row["cause"]) for row in rows] == [(19, 1, "18")]


def test_an_event_carries_its_time_step_stream_and_payload(esper: Esper) -> None:
    (row,) = esper("events", "latest", "--type", "SeedFossilized", "--json").rows()
    assert (row["epoch"], row["step"], row["stream"]) == (12, 121, f"seed.{RUN_ID}-s0")
    assert row["payload"] == {"at": {"step": "121", "epoch": 12}, "contribution": 0.05}


def test_each_event_of_a_commit_has_a_position_that_why_understands(esper: Esper) -> None:
    first_column = [line.split()[0] for line in esper("events", "f3a1", "--seed", "s1").out.splitlines()[1:]]
    assert "19.1" in first_column
    assert esper("why", "latest", "19.1").code == 0
