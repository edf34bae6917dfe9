"""`esper runs` and `esper events`: what the log holds, as lists."""

from typing import Any

import msgspec

from eventstore.store import Recorded
from ops.cli.chronicle import (
    LATEST,
    SHORT,
    Chronicle,
    moment_of,
    read_chronicle,
    read_runs,
    run_of,
    runs_shown,
    seed_of,
    short_type,
    wall_time,
)
from ops.cli.log import open_log
from ops.cli.options import DEFAULTS, Options
from ops.cli.output import print_json, print_table, say
from ops.cli.sentences import sentence


class EventRow(msgspec.Struct, frozen=True, kw_only=True):
    """One event of a run. `cause` is the position of the event that led to it; None at the root."""

    position: int
    index: int
    recorded_at: str
    epoch: int | None
    step: int | None
    stream: str
    type: str
    sentence: str
    cause: str | None
    actor: str
    command: str
    event_id: str
    payload: Any


async def runs(*, options: Options = DEFAULTS) -> None:
    """List the training runs that the log holds, the oldest first.

    "open" means that no end was recorded: the run is under way, or it was killed and can be resumed; "incomplete" is a
    fork whose making was interrupted. The column "seeds" counts germinated/kept/culled; "forked from" names the run
    whose past a fork has, and up to which position.
    """
    async with open_log(options) as log:
        rows = await read_runs(log.store)
    if options.json:
        print_json(rows)
        return
    columns = (
        "run",
        "status",
        "started",
        "model",
        "epochs",
        "score",
        "parameters",
        "seeds",
        "positions",
        "forked from",
    )
    print_table(columns, runs_shown(rows))
    say(f"what happened in the newest: esper events {LATEST}" if rows else "no run yet: start a training")


async def events(run: str, *, type: str = "", seed: str = "", options: Options = DEFAULTS) -> None:  # noqa: A002
    """Show what happened in a run, one sentence per event, in the order it was recorded.

    Args:
        run: A run's id, the beginning of one, or `latest`.
        type: Only events whose type contains this, in any case: "gate", "SeedCulled".
        seed: Only events about this slot: "s0".
    """
    async with open_log(options) as log:
        chronicle = await read_chronicle(log.store)
    run_id = chronicle.run_named(run)
    chosen = [
        recorded
        for recorded in chronicle.of_run(run_id)
        if type.lower() in short_type(recorded.event_type).lower() and seed in ("", seed_of(recorded))
    ]
    if options.json:
        print_json(event_row(chronicle, recorded) for recorded in chosen)
        return
    columns = ("position", "time", "epoch", "step", "stream", "type", "what happened", "cause")
    print_table(columns, [_cells(event_row(chronicle, recorded), chronicle, recorded) for recorded in chosen])
    if chosen:
        say(f"why the last one: esper why {run_id[:SHORT]} {chronicle.label(chosen[-1])}")
    else:
        say(f"no such event; all of them: esper events {run_id[:SHORT]}")


def event_row(chronicle: Chronicle, recorded: Recorded) -> EventRow:
    """Return what there is to know about one event."""
    moment, cause = moment_of(recorded.event), chronicle.cause(recorded)
    return EventRow(
        position=recorded.position,
        index=recorded.index,
        recorded_at=wall_time(recorded.context.recorded_at_ns),
        epoch=moment.epoch if moment else None,
        step=moment.step if moment else None,
        stream=str(recorded.stream),
        type=short_type(recorded.event_type),
        sentence=sentence(recorded.event),
        cause=chronicle.label(cause) if cause else None,
        actor=recorded.context.actor,
        command=short_type(recorded.context.command_type),
        event_id=recorded.event_id,
        payload=recorded.event,
    )


def stream_shown(recorded: Recorded) -> str:
    """Return an event's stream without the run's long id: "seed s0", "run", "kernel 3fa9c2d1"."""
    aggregate, aggregate_id = recorded.stream
    if aggregate == "seed":
        return f"seed {seed_of(recorded)}"
    return aggregate if aggregate_id == run_of(recorded) else f"{aggregate} {aggregate_id[:SHORT]}"


def _cells(row: EventRow, chronicle: Chronicle, recorded: Recorded) -> tuple[str, ...]:
    return (
        chronicle.label(recorded),
        row.recorded_at[11:23],
        "" if row.epoch is None else str(row.epoch),
        "" if row.step is None else str(row.step),
        stream_shown(recorded),
        row.type,
        row.sentence,
        row.cause or "",
    )
