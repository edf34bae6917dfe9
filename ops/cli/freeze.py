"""`esper freeze` and `thaw`: growth of a run rests or goes on, by a word from outside its training."""

from functools import partial
from typing import Any, cast

import msgspec

from actors.clock import SystemClock
from actors.dispatch import dispatch, load
from actors.ids import derived_id
from actors.runs import runs_there
from actors.streams import run_stream
from esper.leyline.decider import RuleBroken
from esper.leyline.v1.run_pb2 import FreezeGrowth, ThawGrowth
from esper.leyline.v1.site_pb2 import Moment
from esper.tolaria.rules.run import RUN
from eventstore.store import Appended, Context, EventStore
from ops.cli.chronicle import SHORT
from ops.cli.errors import AmbiguousRun, CommandFailed, UnknownRun
from ops.cli.log import OPERATOR, open_log
from ops.cli.options import DEFAULTS, Options
from ops.cli.output import print_json, print_line, say


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What was recorded: `position` is None if it was so already."""

    run_id: str
    frozen: bool
    position: int | None


async def freeze(run: str, *, reason: str = "asked for by an operator", options: Options = DEFAULTS) -> None:
    """Let nothing grow in a run any more; it trains on. Its process takes it up at its next step, or when it resumes.

    Args:
        run: A run's id, the beginning of one, or `latest`.
        reason: Why; recorded, and told wherever something would have grown.
    """
    now = SystemClock().now_ns()
    command = partial(FreezeGrowth, reason=reason, raised_at_ns=now)
    await _tell(run, command, f"freeze/{now}", options, frozen=True)


async def thaw(run: str, *, reason: str = "asked for by an operator", options: Options = DEFAULTS) -> None:
    """Let the growth of a run go on that was frozen, by whomever.

    Args:
        run: A run's id, the beginning of one, or `latest`.
        reason: Why; recorded.
    """
    now = SystemClock().now_ns()
    command = partial(ThawGrowth, reason=reason, raised_at_ns=now)
    await _tell(run, command, f"thaw/at/{now}", options, frozen=False)


async def _tell(
    run: str,
    command: "partial[FreezeGrowth] | partial[ThawGrowth]",
    purpose: str,
    options: Options,
    *,
    frozen: bool,
) -> None:
    async with open_log(options, OPERATOR) as log:
        run_id = await _only(log.store, run)
        appended = await _told(log.store, run_id, command, purpose)
    told = Told(run_id=run_id, frozen=frozen, position=appended.position if appended else None)
    word = "frozen" if frozen else "free to go on"
    if options.json:
        print_json([told])
    elif told.position is None:
        print_line(f"growth of run {run_id[:SHORT]} was {word} already")
    else:
        print_line(f"growth of run {run_id[:SHORT]} is {word} from position {told.position} on")
        say("a process that trains it takes this up at its next step")


async def _only(store: EventStore, asked: str) -> str:
    fitting = await runs_there(store, asked)
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise AmbiguousRun(asked, fitting)
    raise UnknownRun(asked, [stream.aggregate_id for stream in await store.streams("run")])


async def _told(
    store: EventStore, run_id: str, command: "partial[FreezeGrowth] | partial[ThawGrowth]", purpose: str
) -> Appended | None:
    """Record *command* at the newest moment that the run has recorded, under an id that a fork of it knows."""
    stream = run_stream(run_id)
    state, _ = await load(store, RUN, stream)
    message = command(at=Moment(step=state.step, epoch=state.epoch))
    prefix = f"timeline {state.timeline}/" if state.timeline else ""
    context = Context(
        command_id=derived_id(run_id, str(stream), prefix + purpose),
        command_type=type(message).__name__,
        recorded_at_ns=message.raised_at_ns,
        actor=OPERATOR,
        correlation_id=run_id,
        run_id=run_id,
    )
    try:
        return await dispatch(store, cast(Any, RUN), stream, message, context)
    except RuleBroken as refused:
        raise CommandFailed(f"run {run_id[:SHORT]} {refused}") from refused
