"""Going on from a run's past as another run: with other settings, or just once more."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from actors.clock import SystemClock
from actors.forking import Forked, ForkRefused, read_past
from actors.forking import fork as fork_past
from actors.place import Log, Place
from actors.runs import LATEST, runs_called
from esper.api.errors import NothingToFork
from esper.api.logs import EMBEDDED, open_named
from esper.api.settings import changed, settings_of
from esper.leyline.v1.run_pb2 import RunFacts

NO_POLICY = ""
# Every decision is written and synced again: a long history on a slow disk takes its time.
FORK_WAIT_S = 600.0
# What works on the training between a checkpoint and the next decision, so that it cannot change in between.
AT_CHECKPOINTS_ONLY = "seed_learning_rate_ratio"


def fork(
    run: str = LATEST,
    *,
    at: int | None = None,
    settings: Mapping[str, object] | None = None,
    log: str = EMBEDDED,
    folder: str | Path = ".esper",
) -> Forked:
    """Make a new run of *run*'s past up to position *at* (default: now), and record where it comes from.

    Train it with the same script: `esper.attach(..., resume=forked.run_id)`. It goes on from the last checkpoint up to
    *at*, repeats the decisions that were recorded between the two, and is free from there. *settings* are growth
    settings by their dotted names that are other in the fork, {"policy.min_epoch": 5}; the script need not know. The
    run that is forked stays as it is, and learns of the fork by one event.

    Raises:
        NothingToFork: no such run, or not at that position; the message says where.
        SettingUnknown: no such setting, or no value for it.
        StackNotReady, StoreUnavailable: the log cannot be reached, or did not answer; a fork that was interrupted is
            left incomplete, cannot be resumed, and harms nobody: fork again.
    """
    opened = open_named(log, Place.at(Path(folder)))
    try:
        return opened.loop.call(fork_on(opened.log, run, at, settings or {}), FORK_WAIT_S)
    finally:
        opened.close()


async def fork_on(log: Log, run: str, at: int | None, settings: Mapping[str, object]) -> Forked:
    """Fork on an open log; see `fork`."""
    fitting = await runs_called(log.store, run)
    if len(fitting) != 1:
        raise NothingToFork(run, f"{len(fitting)} runs are called so: `esper runs` lists them")
    try:
        past = await read_past(log, fitting[0], at)
        if AT_CHECKPOINTS_ONLY in settings and past.commits[-1][0].position > past.free_from:
            why = f"{AT_CHECKPOINTS_ONLY} can change at a checkpoint only: fork at position {past.free_from}"
            raise NothingToFork(run, why)
        return await fork_past(log, past, _facts(past.facts, settings), SystemClock())
    except ForkRefused as refused:
        raise NothingToFork(run, str(refused)) from refused


def _facts(then: RunFacts, changes: Mapping[str, object]) -> RunFacts:
    facts = RunFacts()
    facts.CopyFrom(then)
    if changes:
        settings = changed(settings_of(then.settings_json), changes)
        facts.settings_json = msgspec.json.encode(settings, order="sorted").decode()
        facts.policy_version = settings.policy.version() if then.policy_version else NO_POLICY
    return facts
