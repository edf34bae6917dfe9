"""A run that went back is shown as it was at every position, and as what it is now."""

import msgspec
import pytest

from esper.kasmina.rules.seed import Seed
from esper.leyline.v1.run_pb2 import RunRolledBack
from esper.leyline.v1.seed_pb2 import SeedRebased
from ops.cli.chronicle import RunRow, read_runs
from ops.cli.replay import Past, read_past
from tests.api.conftest import log, loop
from tests.api.scripted_log import FAST, SPAN, Run, ScriptedLog, rolled_back

__all__ = ["log", "loop"]

EACH = msgspec.structs.replace(FAST, checkpoint_every_epochs=1)
SHADOWING, KEPT = 5, 7


def row(log: ScriptedLog) -> RunRow:
    return log.read(read_runs(log.memory))[0]


def replayed(log: ScriptedLog, at: int) -> Past:
    return log.read(read_past(log.memory, "latest", at))


def seeds(past: Past) -> dict[str, Seed]:
    return {one.name: one.state for one in past.folded if one.kind == "seed"}


def test_a_kept_seed_that_a_rollback_took_back_is_not_counted_as_kept(log: ScriptedLog) -> None:
    run = Run(log, settings=EACH).to(KEPT)
    assert row(log).kept == 1
    run.session.rollback(SHADOWING)
    assert row(log).kept == 0
    run.to(KEPT + 3)
    assert run.session.stages[SPAN] == "fossilized"
    assert row(log).kept == 1


@pytest.mark.timeout(60)
def test_replay_shows_the_slots_at_any_position_as_the_session_had_them_then(log: ScriptedLog) -> None:
    run, then = Run(log, settings=EACH), dict[int, dict[str, Seed]]()

    def note(run: Run) -> None:
        then[log.recorded()[-1].position] = run.seeds().copy()
        rolled_back(run)

    run.to(KEPT, note)
    assert len(log.of(RunRolledBack)) == 2
    assert {position: seeds(replayed(log, position)) for position in then} == then


def test_replay_to_a_rollback_says_what_it_changed_in_the_slot(log: ScriptedLog) -> None:
    run = Run(log, settings=EACH).to(KEPT)
    run.session.rollback(SHADOWING)
    (rebased,) = [one.position for one in log.recorded() if isinstance(one.event, SeedRebased)]
    changes = {change.path: (change.before, change.after) for change in replayed(log, rebased).changes}
    assert changes["stage"] == ("fossilized", "shadowing")
    assert changes["timeline"] == (0, 1)
    assert seeds(replayed(log, rebased - 1))["s0"].generation == seeds(replayed(log, rebased))["s0"].generation == 1
