"""Each named question has an answer that agrees with the story that was told."""

from typing import Any

import pytest

from actors.projector import CATALOGUE
from esper.leyline.v1.seed_pb2 import SeedFossilized
from esper.nissa.questions import questions
from eventstore.memory import MemoryStore
from eventstore.projection.query import answer
from eventstore.projection.runner import catch_up
from eventstore.projection.sink import Sink
from tests.projection.history import KERNEL, tell_rollback, tell_run

NAMES = [question.name for question in questions()]


def ask(sink: Sink, sql: str) -> list[dict[str, Any]]:
    found = answer(sink.connection, sql)
    return [dict(zip(found.columns, row, strict=True)) for row in found.rows]


def test_the_promised_questions_are_there_and_explain_themselves():
    promised = {"run_summary", "seed_lifecycle", "decisions", "kernel_catalogue", "compile_jobs", "field_reports"}
    assert promised <= set(NAMES)
    assert all(question.help.endswith(".") for question in questions())


@pytest.mark.parametrize("name", NAMES)
async def test_every_question_has_rows(filled: Sink, name: str):
    assert ask(filled, f"from {name}")


async def test_run_summary_tells_what_grew(filled: Sink):
    (run,) = ask(filled, "from run_summary")
    assert (run["state"], run["epochs"], run["steps"], run["score"]) == ("finished", 10, 100, 0.7)
    assert (run["germinated"], run["kept"], run["culled"]) == (3, 1, 1)
    assert (run["parameters_before"], run["parameters_after"]) == (936, 1000)
    assert run["events"] == filled.checkpoint.events


async def test_seed_lifecycle_has_a_row_per_generation(filled: Sink):
    kept, culled, second = ask(filled, "from seed_lifecycle")
    assert (kept["site"], kept["outcome"], kept["stage"]) == ("conv1 -> head", "kept", "fossilized")
    assert (kept["germinated_epoch"], kept["blending_epoch"], kept["ended_epoch"]) == (1, 4, 9)
    assert (kept["parameters"], kept["contribution"]) == (64, 0.03)
    assert (culled["seed_id"], culled["outcome"], culled["culled_from"]) == ("s1", "culled", "training")
    assert culled["cull_reason"] == "gate G2: probe_gain 0 (limit 0)"
    assert (second["generation"], second["stage"], second["outcome"]) == (2, "germinated", "growing")


async def test_decisions_join_what_was_seen_with_what_followed(filled: Sink):
    germinate, blend, cull = ask(filled, "from decisions")
    assert (germinate["action"], germinate["effect"]) == ("germinate", "SeedGerminated")
    assert germinate["observation_position"] < germinate["position"] < germinate["effect_position"]
    assert blend["effect"] == "SeedBlendingStarted"
    assert blend["inputs"] == '{"predicted_loss_decrease":0.2}'
    assert [row["withdrawn"] for row in (germinate, blend, cull)] == [False, False, True]


async def test_interruptions_tell_what_came_between_training_and_log(filled: Sink):
    assert [(row["what"], row["reason"]) for row in ask(filled, "from interruptions")] == [
        ("decision missed", "no answer"),
        ("decision withdrawn", "too late"),
        ("change deferred", "late"),
        ("growth frozen", "a drill"),
        ("growth thawed", "it is over"),
        ("epochs skipped", "the outbox is full"),
    ]


async def test_a_gate_shows_each_number_against_its_threshold(filled: Sink):
    failed = ask(filled, "from gates where not gate_passed and input = 'probe_gain'")
    assert [(row["gate"], row["measured"], row["threshold"], row["passed"]) for row in failed] == [
        ("G2", 0.0, 0.0, False)
    ]
    unmeasured = ask(filled, "from gates where not gate_passed and input = 'r_squared'")
    assert [(row["measured"], row["passed"]) for row in unmeasured] == [(None, False)]


async def test_kernel_catalogue_and_compile_jobs_tell_of_the_retry(filled: Sink):
    (kernel,) = ask(filled, "from kernel_catalogue")
    assert (kernel["kernel_key"], kernel["kernel_id"], kernel["state"]) == ("f" * 64, KERNEL, "registered")
    assert (kernel["name"], kernel["verdict"], kernel["requests"], kernel["attached"]) == (
        "linear_projection",
        "eager",
        1,
        2,
    )
    assert (kernel["prewarm_p50_ms"], kernel["prewarm_p95_ms"]) == (0.5, None)
    (job,) = ask(filled, "from compile_jobs")
    assert (job["state"], job["attempts"], job["failures"], job["last_failure"]) == ("compiled", 2, 1, "crash")


async def test_a_field_report_names_its_outcome_and_how_it_is_known(filled: Sink):
    (report,) = ask(filled, "from field_reports")
    assert (report["outcome"], report["attribution"], report["opened_epoch"]) == ("success", "counterfactual", 4)


async def test_causation_leads_from_a_seed_to_the_epoch_that_was_observed(filled: Sink):
    sql = "select c.cause_position from causation c where c.type = 'SeedGerminated' and c.seed_id = 's0'"
    decided = ask(filled, sql)[0]["cause_position"]
    (decision,) = ask(filled, f"from causation where position = {decided}")
    assert (decision["type"], decision["cause_type"]) == ("DecisionMade", "EpochEnded")


async def test_growth_cost_relates_gain_to_parameters(filled: Sink):
    (cost,) = ask(filled, "from growth_cost")
    assert cost["gain_per_1000_parameters"] == pytest.approx(0.03 / 0.064)
    assert (cost["epochs_to_keep"], cost["compile_ms"]) == (8, 900.0)


async def test_gradient_conflicts_tells_where_seed_and_host_pull_apart(filled: Sink):
    row, *_ = ask(filled, "from gradient_conflicts")
    assert (row["gradient_cosine"], row["in_conflict"], row["seed_id"]) == (-0.25, True, "s0")


async def test_numbers_as_large_as_a_random_seed_survive(filled: Sink):
    (row,) = ask(filled, "select payload->>'init_seed' as drawn from events where type = 'SeedGerminated' limit 1")
    assert row["drawn"] == str(2**64 - 1)


def test_every_view_and_table_has_a_name_of_its_own():
    names = [*CATALOGUE.tables, *(view.name for view in CATALOGUE.views)]
    assert len(names) == len(set(names))


async def test_refused_messages_are_counted_by_reason_and_reader(filled: Sink):
    (refusal,) = ask(filled, "from refusals")
    assert (refusal["reason"], refusal["reader"], refusal["messages"]) == ("expired", "tezzeret", 2)
    assert (refusal["retried"], refusal["dropped"], refusal["last_error"]) == (0, 1, "a day late")


async def test_what_a_rollback_abandoned_stays_to_be_asked_for_and_counts_no_more(store: MemoryStore, sink: Sink):
    telling = await tell_run(store, "e" * 32)
    own = [recorded async for recorded in store.read_all() if recorded.context.run_id == telling.run_id]
    kept_at = next(recorded.position for recorded in own if isinstance(recorded.event, SeedFossilized))
    await tell_rollback(telling, (kept_at, own[-1].position), to_epoch=1)
    await catch_up(store, sink)
    of_run = f"where run_id = '{telling.run_id}'"
    first, second, third = ask(sink, f"from seed_lifecycle {of_run}")
    assert (first["stage"], first["outcome"]) == ("probationary", "growing")
    assert [second["outcome"], third["outcome"]] == ["abandoned", "abandoned"]
    assert [row["abandoned"] for row in ask(sink, f"from epochs {of_run} order by epoch")] == [False] + [True] * 9
    (run,) = ask(sink, f"from run_summary {of_run}")
    assert (run["best_score"], run["kept"], run["rollbacks"]) == (0.5, 0, 2)


async def test_a_rollback_says_why_to_where_and_how_long_it_took(filled: Sink):
    (row,) = ask(filled, "from rollbacks")
    assert (row["mode"], row["tier"], row["seconds"]) == ("restore", "fast", 0.004)
    assert (row["reason"], row["to_epoch"], row["timeline"]) == ("by hand", 10, 1)
