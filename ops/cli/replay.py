"""`esper replay`: a run as it stood at a position; or its whole history, verified; or trained again and compared."""

from collections.abc import Sequence
from typing import Annotated, Any, cast

import msgspec
from cyclopts import Parameter

from actors.verification import Divergence, Verified, divergence_of, verify_run
from esper.kasmina.rules.seed import SEED, Seed
from esper.leyline.decider import Decider
from esper.leyline.v1.enums_pb2 import SeedLifecycleStage
from esper.leyline.v1.policy_pb2 import DecisionMade
from esper.tamiyo.rules.heuristic import POLICY
from esper.tolaria.rules.run import RUN, Run
from eventstore.errors import LogCorrupt
from eventstore.replay import Difference, differences, fold
from eventstore.store import EventStore, StreamName
from ops.cli.chronicle import SHORT, Chronicle, read_what_is_sound, run_of
from ops.cli.errors import CommandFailed, UnknownPosition, UnknownRun
from ops.cli.log import OpenLog, open_log
from ops.cli.options import DEFAULTS, Options
from ops.cli.output import print_json, print_line, print_table, say
from ops.cli.phrases import stage_name
from ops.cli.retrain import train_again
from ops.cli.sentences import sentence
from ops.cli.witness import projections_witness, server_loss

DECIDERS: dict[str, Decider[Any, Any, Any]] = {"run": RUN, "seed": SEED, "policy": POLICY}


class Folded(msgspec.Struct, frozen=True, kw_only=True):
    """One aggregate of the run as it stood: `kind` is run, seed or policy; `name` and `stage` are those of a seed."""

    kind: str
    name: str
    stage: str
    stream: str
    version: int
    position: int
    state: Any


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """One decision of the controller."""

    kind: str = "decision"
    position: str
    epoch: int
    step: int
    sentence: str


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What the position asked for changed in one stream's state."""

    kind: str = "change"
    position: int
    stream: str
    path: str
    before: Any
    after: Any


class Past(msgspec.Struct, frozen=True, kw_only=True):
    """A run at a position: its aggregates, its decisions so far, and what that very position changed."""

    run_id: str
    position: int
    head: int
    folded: tuple[Folded, ...]
    decisions: tuple[Decision, ...]
    changes: tuple[Change, ...]


async def replay(
    run: str,
    *script: str,
    at: int | None = None,
    verify: Annotated[bool, Parameter(negative="")] = False,
    retrain: Annotated[bool, Parameter(negative="")] = False,
    options: Options = DEFAULTS,
) -> int:
    """Show a run as it stood at a position, verify its whole history, or train it again and compare.

    Args:
        run: A run's id, the beginning of one, or `latest`.
        script: With --retrain, the command that trains, after `--`: esper replay latest --retrain -- python train.py
        at: Fold the log up to this position; the newest if left out.
        verify: Check every hash, chain link, signature, gate verdict, edge and checkpoint instead, up to the first
            that is wrong; the exit code is 1 if there is one.
        retrain: Run the training script with the run's recorded decisions at their recorded steps, and compare every
            epoch and the weights at every checkpoint, up to the first that differs; nothing is written to the log.
    """
    if script and not retrain:
        raise CommandFailed(f"{script[0]!r} is one word too many: a script is run with --retrain only")
    if retrain:
        return await train_again(run, script, options)
    if verify:
        return await _verified(run, options)
    async with open_log(options) as log:
        past = await read_past(log.store, run, at)
    if options.json:
        print_json([*past.folded, *past.decisions, *past.changes])
    else:
        _show(past)
    return 0


async def read_past(store: EventStore, run: str, at: int | None) -> Past:
    """Fold the run's streams to position *at*.

    Raises:
        UnknownRun, AmbiguousRun, UnknownPosition
        LogCorrupt, UnknownEventType: the log is damaged at *at* or before it.
    """
    chronicle = await read_what_is_sound(store)
    sound_to = chronicle.events[-1].position if chronicle.events else 0
    if chronicle.damage is not None and (at is None or at > sound_to):
        raise chronicle.damage
    run_id = chronicle.run_named(run)
    first = chronicle.of_run(run_id)[0].position
    if at is not None and not first <= at <= sound_to:
        raise UnknownPosition(run_id, str(at), f"it began at {first}, and the log ends at {sound_to}")
    position = sound_to if at is None else at
    streams = _streams(chronicle, run_id, position)
    return Past(
        run_id=run_id,
        position=position,
        head=sound_to,
        folded=tuple(_folded(chronicle, stream, position) for stream in streams),
        decisions=tuple(_decisions(chronicle, run_id, position)),
        changes=() if at is None else tuple(one for stream in streams for one in _changes(chronicle, stream, at)),
    )


def _streams(chronicle: Chronicle, run_id: str, position: int) -> list[StreamName]:
    seen = {
        recorded.stream
        for recorded in chronicle.of_run(run_id)
        if recorded.stream.aggregate in DECIDERS and recorded.position <= position
    }
    return sorted(seen, key=lambda stream: (list(DECIDERS).index(stream.aggregate), stream.aggregate_id))


def _folded(chronicle: Chronicle, stream: StreamName, position: int) -> Folded:
    decider = DECIDERS[stream.aggregate]
    folded = fold(chronicle.of_stream(stream), decider.initial, decider.evolve, until=position)
    name = stream.aggregate_id.partition("-")[2]
    return Folded(
        kind=stream.aggregate,
        name=name,
        stage=stage_name(folded.state.stage) if isinstance(folded.state, Seed) else "",
        stream=str(stream),
        version=folded.version,
        position=folded.position,
        state=folded.state,
    )


def _changes(chronicle: Chronicle, stream: StreamName, position: int) -> list[Change]:
    before, after = _folded(chronicle, stream, position - 1), _folded(chronicle, stream, position)
    if after.position != position:
        return []
    return [_change(position, stream, found) for found in differences(before.state, after.state)]


def _change(position: int, stream: StreamName, found: Difference) -> Change:
    return Change(
        position=position,
        stream=str(stream),
        path=found.path,
        before=_named(found.path, found.before),
        after=_named(found.path, found.after),
    )


def _named(path: str, value: object) -> object:
    """Return a stage by its name, as people know it; everything else as it is."""
    return stage_name(cast("SeedLifecycleStage", value)) if path == "stage" and isinstance(value, int) else value


def _decisions(chronicle: Chronicle, run_id: str, position: int) -> list[Decision]:
    return [
        Decision(
            position=chronicle.label(recorded),
            epoch=recorded.event.at.epoch,
            step=recorded.event.at.step,
            sentence=sentence(recorded.event),
        )
        for recorded in chronicle.of_run(run_id)
        if isinstance(recorded.event, DecisionMade) and recorded.position <= position
    ]


def _show(past: Past) -> None:
    where = f"position {past.position} of {past.head}"
    print_line(f"run {past.run_id}  {where}", "bold yellow" if past.position < past.head else "bold")
    for folded in past.folded:
        if isinstance(folded.state, Run):
            print_line(_run_shown(folded.state))
    print_line()
    _show_seeds([(folded.name, folded.state) for folded in past.folded if isinstance(folded.state, Seed)])
    print_line()
    rows = [(one.position, str(one.epoch), str(one.step), one.sentence) for one in past.decisions]
    print_table(("position", "epoch", "step", "decision"), rows)
    if past.changes:
        print_line()
        rows = [(one.stream.split("-")[-1], one.path, _short(one.before), _short(one.after)) for one in past.changes]
        print_table((f"changed at {past.position}", "what", "before", "after"), rows)
    say(f"why: esper why {past.run_id[:SHORT]} {past.position}   all: esper events {past.run_id[:SHORT]}")


def _run_shown(run: Run) -> str:
    if run.facts is None:
        return "the run had not started"
    end = "finished" if run.finished else f"in process {run.attempt} of this run"
    end += f", timeline {run.timeline}" if run.timeline else ""
    score = "not measured" if run.score is None else f"{run.score:.4f}"
    parameters = run.last_epoch.model_parameters if run.last_epoch else run.facts.host_parameters
    return (
        f"{run.facts.model_class}: epoch {run.epoch}, step {run.step}, score {score}, {parameters:,} parameters, {end}"
    )


def _show_seeds(seeds: Sequence[tuple[str, Seed]]) -> None:
    columns = ("slot", "site", "stage", "since", "seed", "parameters", "alpha", "contribution", "remark")
    rows = [
        (
            name,
            seed.site.label if seed.site else "",
            stage_name(seed.stage),
            f"epoch {seed.since_epoch}, step {seed.since_step}",
            f"{seed.blueprint_id} #{seed.generation}" if seed.generation else "",
            f"{seed.parameter_count:,}" if seed.parameter_count else "",
            f"-> {seed.ramp.target:g}" + ("" if seed.ramp_completed else " (moving)") if seed.ramp else "",
            "" if seed.contribution is None else f"{seed.contribution:+.4f}",
            seed.cull_reason,
        )
        for name, seed in seeds
    ]
    print_table(columns, rows)


def _short(value: object) -> str:
    text = "-" if value is None else str(value)
    return text if len(text) <= 48 else f"{text[:45]}..."


async def _verified(run: str, options: Options) -> int:
    """Verify a run, print what came out, and return the exit code."""
    sound = Chronicle(())
    try:
        async with open_log(options) as log:
            sound = await read_what_is_sound(log.store)
            found = await _verify(log, sound, run)
    except LogCorrupt as damage:
        found = divergence_of(damage)
    if options.json:
        print_json([{"verified": not isinstance(found, Divergence), "result": found}])
    elif isinstance(found, Divergence):
        _show_divergence(sound, found)
    else:
        print_line(
            f"run {found.run_id} verified to position {found.last_position}: {found.commits} commits, "
            f"{found.events} events, {found.gates} gate verdicts, {found.edges} edges, {found.kernels} kernels, "
            f"{found.checkpoints} checkpoints"
        )
    return int(isinstance(found, Divergence))


async def _verify(log: OpenLog, sound: Chronicle, run: str) -> Verified | Divergence:
    try:
        run_id = sound.run_named(run)
    except UnknownRun:
        # The run may be unknown because damage took it away: then that is the answer, not a wrong name.
        found = await verify_run(log.store, "", await projections_witness(log), await server_loss(log))
        if isinstance(found, Divergence):
            return found
        raise
    return await verify_run(log.store, run_id, await projections_witness(log), await server_loss(log))


def _show_divergence(sound: Chronicle, found: Divergence) -> None:
    place = f"{found.position}.{found.index}" if found.stream else str(found.position)
    print_line(f"DIVERGED at position {place}: {found.kind}" + (f" of {found.stream}" if found.stream else ""), "red")
    print_line(f"  expected  {found.expected}")
    print_line(f"  found     {found.found}")
    before = [one for one in sound.events if one.position < found.position and run_of(one)]
    if before:
        say(f"the last sound state: esper replay {run_of(before[-1])[:SHORT]} --at {before[-1].position}")
