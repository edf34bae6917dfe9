"""A cold load from a snapshot is the fold of the log, only faster."""

from pathlib import Path
from typing import Any

import pytest

from actors.dispatch import AggregateCache, dispatch
from actors.epoch import ACTOR
from actors.snapshotting import folding_of
from esper.kasmina.rules.seed import SEED
from esper.leyline.decider import Decider
from esper.leyline.registry import EVENTS
from esper.leyline.v1.actor_pb2 import ActorStarted, StartActor
from esper.tamiyo.rules.heuristic import POLICY
from esper.tamiyo.rules.reports import REPORTS
from esper.tezzeret.rules.job import JOB
from esper.tolaria.rules.run import RUN
from esper.urza.rules.blueprint import BLUEPRINT
from esper.urza.rules.kernel import KERNEL
from eventstore.memory import MemoryStore
from eventstore.replay import fold_stream
from eventstore.signing import Keys
from eventstore.snapshot import Snapshots
from eventstore.states import decode, encode
from tests.actors.test_dispatch import STREAM, context
from tests.ops.story import tell_story

FOLDED: list[int] = []
EVERY = 10


def evolve(openings: int, event: ActorStarted) -> int:
    FOLDED.append(event.epoch)
    return openings + 1


DOOR: Decider[int, StartActor, ActorStarted] = Decider(
    "Door", 0, lambda openings, command: [ActorStarted(epoch=openings + 1)], evolve
)


@pytest.fixture
async def store() -> MemoryStore:
    store, cache = MemoryStore(EVENTS), AggregateCache()
    for _ in range(25):
        await dispatch(store, DOOR, STREAM, StartActor(), context(), cache=cache)
    return store


@pytest.fixture
def snapshots(tmp_path: Path) -> Snapshots:
    return Snapshots(tmp_path, Keys("k"), every=EVERY)


async def cold_load(store: MemoryStore, snapshots: Snapshots) -> tuple[int, int]:
    """Return the state that a new process sees, and how many events it had to fold."""
    FOLDED.clear()
    held = await AggregateCache(snapshots=snapshots).caught_up(store, DOOR, STREAM)
    return held.state, len(FOLDED)


async def test_a_second_cold_load_folds_only_what_came_later(store: MemoryStore, snapshots: Snapshots):
    assert await cold_load(store, snapshots) == (25, 25)
    await dispatch(store, DOOR, STREAM, StartActor(), context())
    assert await cold_load(store, snapshots) == (26, 1)


async def test_without_the_snapshots_everything_is_as_before(store: MemoryStore, snapshots: Snapshots):
    await cold_load(store, snapshots)
    snapshots.clear()
    assert await cold_load(store, snapshots) == (25, 25)


async def test_a_command_that_was_answered_before_the_snapshot_is_not_decided_again(
    store: MemoryStore, snapshots: Snapshots
):
    await cold_load(store, snapshots)
    first = (await store.read_stream(STREAM))[0]
    cache = AggregateCache(snapshots=snapshots)
    again = await dispatch(store, DOOR, STREAM, StartActor(), first.context, cache=cache)
    assert again is not None
    assert (again.duplicate, again.events) == (True, (first,))


async def test_a_writer_that_began_from_a_snapshot_appends_after_it(store: MemoryStore, snapshots: Snapshots):
    await cold_load(store, snapshots)
    cache = AggregateCache(snapshots=snapshots)
    appended = await dispatch(store, DOOR, STREAM, StartActor(), context(), cache=cache)
    assert appended is not None
    assert appended.events[0].version == 26


async def test_real_states_survive_being_kept():
    teller = await tell_story(MemoryStore(EVENTS))
    for decider, stream in ((RUN, teller.run), (SEED, teller.seed("s0")), (SEED, teller.seed("s1"))):
        folding = folding_of(decider)
        assert folding is not None
        state = (await fold_stream(teller.store, stream, decider.initial, decider.evolve)).state
        assert decode(encode(state), folding.kinds) == state


@pytest.mark.parametrize("decider", [ACTOR, BLUEPRINT, JOB, KERNEL, REPORTS, RUN, SEED], ids=lambda one: one.name)
def test_a_rule_that_is_plain_code_can_have_snapshots(decider: Decider[Any, Any, Any]):
    folding = folding_of(decider)
    assert folding is not None
    assert decode(encode(decider.initial), folding.kinds) == decider.initial


def test_a_rule_made_from_settings_has_none_because_its_source_does_not_tell_them():
    assert folding_of(POLICY) is None
