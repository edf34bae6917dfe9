"""Enum numbers from a later version are kept as numbers, whatever holds them, and counted."""

from hypothesis import given
from hypothesis import strategies as st

from esper.leyline.strangers import unknown_numbers
from esper.leyline.v1.enums_pb2 import SeedLifecycleStage as Stage
from esper.leyline.v1.run_pb2 import EpochEnded, EpochFacts
from esper.leyline.v1.seed_pb2 import SeedCulled
from esper.leyline.v1.site_pb2 import SeedObservation
from eventstore.memory import MemoryStore
from eventstore.projection.runner import catch_up
from eventstore.projection.sink import Sink
from eventstore.store import Context, StreamName
from tests.projection.test_views import ask

# Field 4, the stage that the seed was in, with the number 99.
LATER = SeedCulled.FromString(SeedCulled(reason="it shrank").SerializeToString() + b"\x20\x63")


def observed(*stages: int) -> EpochEnded:
    facts = EpochFacts()
    for stage in stages:
        facts.seeds.append(SeedObservation.FromString(SeedObservation(seed_id="s0").SerializeToString()))
        facts.seeds[-1].stage = stage  # type: ignore[assignment]
    return EpochEnded(facts=facts)


def test_a_number_is_found_with_its_path_also_inside_of_lists():
    assert list(unknown_numbers(LATER)) == [("from_stage", 99)]
    assert list(unknown_numbers(observed(Stage.SEED_STAGE_CULLED, 77))) == [("facts.seeds[1].stage", 77)]


@given(st.integers(min_value=-(2**31), max_value=2**31 - 1))
def test_every_number_survives_the_wire_and_only_unnamed_ones_are_strangers(number: int):
    sent = EpochEnded.FromString(observed(number).SerializeToString(deterministic=True))
    assert sent.facts.seeds[0].stage == number
    assert [found for _, found in unknown_numbers(sent)] == ([] if number in Stage.values() else [number])


async def test_a_stranger_is_a_row_and_stays_a_number_in_the_payload(store: MemoryStore, sink: Sink):
    context = Context(command_id="1" * 32, command_type="CullSeed", recorded_at_ns=1, actor="kasmina")
    await store.append(StreamName("seed", "later-s0"), [LATER], expected=0, context=context)
    await catch_up(store, sink)
    (row,) = ask(sink, "from unknown_enum_numbers")
    assert (row["type"], row["field"], row["number"]) == ("SeedCulled", "from_stage", 99)
    (event,) = ask(
        sink, "select payload->>'from_stage' as stage from events where type = 'SeedCulled' and run_id = 'later'"
    )
    assert event["stage"] == "99"
