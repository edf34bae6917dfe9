"""Folding to a position, and telling two states apart."""

from esper.kasmina.rules.seed import SEED
from esper.leyline.registry import EVENTS
from esper.leyline.v1.enums_pb2 import SeedLifecycleStage as Stage
from eventstore.memory import MemoryStore
from eventstore.replay import differences, fold_stream
from tests.ops.story import tell_story


async def test_a_stream_folds_to_the_state_it_had_at_a_position() -> None:
    store = MemoryStore(EVENTS)
    stream = (await tell_story(store)).seed("s0")
    then = await fold_stream(store, stream, SEED.initial, SEED.evolve, until=22)
    now = await fold_stream(store, stream, SEED.initial, SEED.evolve)
    assert (then.state.stage, then.version, then.position) == (Stage.SEED_STAGE_BLENDING, 8, 22)
    assert (now.state.stage, now.version, now.position) == (Stage.SEED_STAGE_FOSSILIZED, 15, 33)


async def test_before_its_first_event_a_stream_is_in_its_initial_state() -> None:
    store = MemoryStore(EVENTS)
    stream = (await tell_story(store)).seed("s0")
    folded = await fold_stream(store, stream, SEED.initial, SEED.evolve, until=1)
    assert (folded.state, folded.version, folded.position) == (SEED.initial, 0, 0)


async def test_differences_name_the_paths_that_changed_and_nothing_else() -> None:
    store = MemoryStore(EVENTS)
    stream = (await tell_story(store)).seed("s0")
    before = await fold_stream(store, stream, SEED.initial, SEED.evolve, until=32)
    after = await fold_stream(store, stream, SEED.initial, SEED.evolve, until=33)
    changed = {one.path: (one.before, one.after) for one in differences(before.state, after.state)}
    assert changed.keys() == {"stage", "contribution", "since_epoch", "since_step", "version"}
    assert changed["contribution"] == (None, 0.05)


def test_differences_look_into_messages_maps_and_lists() -> None:
    assert [one.path for one in differences({"a": [1, 2], "b": {"c": 1}}, {"a": [1, 3], "b": {}})] == ["a.1", "b.c"]
    assert differences({"a": (1, 2)}, {"a": (1, 2)}) == ()
