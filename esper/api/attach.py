"""Beginning a training run, or going on with one."""

import os
import platform
import random
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import msgspec
import torch
from torch import nn
from torch._dynamo.eval_frame import OptimizedModule

from actors.clock import SystemClock
from actors.dispatch import AggregateCache
from actors.handover import Rules
from actors.ids import new_id
from actors.logs import configure_if_unset
from actors.outbox import SUFFIX, Outbox, OutboxHeld
from actors.place import Place
from actors.rehearsal import RUN_VARIABLE
from actors.runs import runs_called
from actors.streams import run_stream
from actors.timeline import lineage_at
from actors.trainer import Trainer
from actors.voice import Voice
from esper.api.brake import Brake, pulled_in
from esper.api.checkpoints import Checkpoints
from esper.api.errors import (
    AttachedAlready,
    ControllerUnknown,
    ForkIncomplete,
    NothingToResume,
    RunFinishedAlready,
    RunHeld,
    RunIsHalted,
)
from esper.api.evaluation import Evaluate, Evaluation
from esper.api.fences import Fences
from esper.api.governor import Governor
from esper.api.growth import Growth, Objective
from esper.api.hearing import hear
from esper.api.kernels import sanity
from esper.api.logs import EMBEDDED, MEMORY, OpenLog, open_named
from esper.api.measuring import measuring
from esper.api.original import first_checkpoint, remember
from esper.api.parallel.crew import Crew, Leading, Nobody
from esper.api.parallel.errors import ParallelRefused
from esper.api.parallel.joining import demand_same_script, follow, host_of, ranks_of, say_failed
from esper.api.recovery import Recovery
from esper.api.resuming import refuse_other_script, under_its_own_settings, what_was_put_back
from esper.api.retraining import LOG_WAIT_S, Retraining, record_of, rehearsal
from esper.api.rollbacks import Rollbacks
from esper.api.script import Script, loss_scale
from esper.api.session import NOBODY, Session
from esper.api.settings import GrowthSettings
from esper.api.wrap import refuse_compiled, survey_of, wrapped_sites
from esper.kasmina.doorway import declared
from esper.kasmina.gatekeeper import keep_gate
from esper.kasmina.planted import PLANTED
from esper.kasmina.ranks import ProcessRanks
from esper.kasmina.rules.seed import seed_rules
from esper.leyline.v1.run_pb2 import CheckpointCommitted, EpochFacts, RunFacts, RunStarted
from esper.leyline.v1.site_pb2 import Moment
from esper.tamiyo.rules.heuristic import policy
from esper.tolaria.checkpoint import Stateful, model_sha256
from esper.tolaria.rules.run import RUN
from eventstore.store import EventStore, Recorded

HEURISTIC = "heuristic"

# A plain attribute of the model, the model's own id: a copy of the model is in no session.
IN_SESSION = "_esper_in_session"

Call = Callable[[Any], Any]


def attach(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    evaluate: Evaluate,
    log: str = EMBEDDED,
    folder: str | Path = ".esper",
    resume: str | None = None,
    seed: int = 0,
    controller: str | None = HEURISTIC,
    settings: GrowthSettings | None = None,
    stateful: Mapping[str, Stateful | torch.Generator] | None = None,
    data: str = "",
    telemetry: bool = True,
    say: Callable[[str], None] | None = None,
    retrain: str | None = None,
    objective: Objective | None = None,
) -> Session:
    """Begin a training run of a wrapped *model*, or go on with one; use the result in a `with` statement.

    *evaluate* is called with the model at each epoch's end, and again with single seeds switched off: it returns a
    held-out score (larger is better), or a mapping with "score" and, better, "loss". *log* is "embedded", "memory"
    or "nats://...". *resume* is "latest", a run's id or its unique beginning. *seed* fixes every random draw that
    Esper makes. *stateful* names whatever else must be saved with the run: schedulers, scalers, generators of your
    loaders. A `torch.amp.GradScaler` must be among them: its factor is taken out of what seeds learn from.
    *controller* None leaves every slot to your own hand. *telemetry* publishes what each step and epoch measured
    where `esper query` finds it; with log="memory" there is none. *retrain* names a run to train again from its
    beginning with its recorded decisions, to see whether every epoch and checkpoint comes out the same: nothing is
    written to the log then. *objective*, a function from model and batch to loss, makes growing seeds learn from their
    true effect on that loss, where the loss is far from locally linear; then give `session.step` the batch, too. The
    model runs once more for each growing seed and step.

    A *model* in a DistributedDataParallel, which was wrapped before, grows in all its processes alike: call this in
    each of them. The first decides, measures and records; see docs/data-parallel.md.

    Raises:
        NotWrapped: call `wrap` first.
        AttachedAlready: the model is in a session, or carries what one has grown.
        ControllerUnknown: there is no such controller.
        CompiledHost: the model is compiled, and its sites were not declared for that.
        NothingToResume, RunFinishedAlready, RunIsHalted, RunHeld, ResumeMismatch, ForkIncomplete, KernelLost,
            LogReplaced: *resume* cannot be done.
        NothingToRetrain: there is no such run.
        ParallelRefused, RanksDiffer, FirstRankFailed: several processes train; see their messages.
        StackNotReady, StoreUnavailable: the log cannot be reached.
    """
    configure_if_unset()
    compiled = model if isinstance(model, OptimizedModule) else None
    if compiled is not None:
        # What torch.compile returned; what was wrapped is inside.
        model = compiled.get_submodule("_orig_mod")
    ranks, model = ranks_of(model), host_of(model)
    script = Script(
        model=model,
        optimizer=optimizer,
        evaluate=evaluate,
        resume=resume,
        seed=seed,
        controller=controller,
        settings=settings or GrowthSettings(),
        stateful=dict(stateful or {}),
        data=data,
        telemetry=telemetry,
        say=say or _to_stdout,
        ranks=ranks,
        objective=objective,
    )
    if controller not in (HEURISTIC, None):
        raise ControllerUnknown(controller, HEURISTIC)
    refuse_unless_free(model)
    if compiled is not None:
        keep_gate(model, compiled)
    again = retrain or os.environ.get(RUN_VARIABLE)
    if isinstance(ranks, ProcessRanks):
        if log == MEMORY or again:
            raise ParallelRefused(f"log={MEMORY!r}" if log == MEMORY else "retrain", "use a log that all can read")
        return _with_others(script, ranks, partial(_opened, log, folder))
    opened, place = _opened(log, folder)
    return begin(script, opened, place) if again is None else begin_again(again, script, opened, place)


def _opened(log: str, folder: str | Path) -> tuple[OpenLog, Place]:
    place = Place.at(Path(folder))
    opened = open_named(log, place)
    return opened, opened.seen_from(place)


def _with_others(script: Script, ranks: ProcessRanks, open_log: Callable[[], tuple[OpenLog, Place]]) -> Session:
    facts = _facts(script)
    script = msgspec.structs.replace(script, companions=demand_same_script(ranks, script, facts))
    if ranks.number:
        with _in_session(script.model) as ending:
            return follow(script, ranks, loss_scale(script.stateful), facts, open_log, ending)
    try:
        return begin(script, *open_log())
    except BaseException as error:
        say_failed(ranks, error)
        raise


def begin_again(run: str, script: Script, opened: OpenLog, place: Place) -> Session:
    """Train *run*, which is on record in *opened*, from its beginning, in a log in memory, and compare.

    Raises: as `attach`.
    """
    with ExitStack() as ending:
        ending.callback(opened.close)
        record = record_of(run, opened.log.store, opened.loop)
        stage = open_named(MEMORY, place)
        ending.callback(stage.close)
        positions = rehearsal(record, stage)
        script = msgspec.structs.replace(script, resume=record.run_id)
        closing = ending.pop_all()
    stage = stage._replace(close=closing.close)
    return begin(script, stage, place, Retraining(record, positions, script.say))


def refuse_unless_free(model: nn.Module) -> None:
    """Refuse a model that was not wrapped, is in a session, or carries seeds.

    Raises:
        NotWrapped, AttachedAlready: see their messages.
    """
    wrapped_sites(model)
    refuse_compiled(model, declared(model))
    if model.__dict__.get(IN_SESSION) == id(model):
        raise AttachedAlready("is in a session already")
    if model.__dict__.get(PLANTED):
        raise AttachedAlready("carries seeds of a session that has ended")


def begin(script: Script, opened: OpenLog, place: Place, retraining: Retraining | None = None) -> Session:
    """Begin or resume the run of *script* on an open log, which is closed with the session, or at once on failure.

    Raises: as `attach`.
    """
    with _in_session(script.model) as ending:
        ending.callback(opened.close)
        return _session(script, opened, place, ending, retraining)


@contextmanager
def _in_session(model: nn.Module) -> Generator[ExitStack]:
    """Mark *model* as in a session until the stack that is yielded is closed, as it is at once on failure."""
    ending = ExitStack()
    model.__dict__[IN_SESSION] = id(model)
    ending.callback(model.__dict__.pop, IN_SESSION, None)
    try:
        yield ending
    except BaseException:
        ending.close()
        raise


def _session(
    script: Script, opened: OpenLog, place: Place, ending: ExitStack, retraining: Retraining | None
) -> Session:
    call = opened.loop.call
    head = call(opened.log.store.identity()).last_position
    begun = None if script.resume is None else call(find_run(opened.log.store, script.resume))
    script = script if begun is None else under_its_own_settings(script, begun)
    model, settings, facts = script.model, script.settings, _facts(script)
    run_id = begun[0].stream.aggregate_id if begun else new_id(SystemClock(), random.SystemRandom())
    outbox = _outbox(run_id, opened, place)
    ending.callback(outbox.close)
    scale, objective = loss_scale(script.stateful), script.objective
    growth = Growth(model, script.optimizer, facts.sites, settings, scale, script.ranks, objective)
    ending.callback(lambda: [slot.leave_ranks() for slot in growth.slots.values()])
    voice = Voice(opened.log, run_id, SystemClock(), AggregateCache(snapshots=place.snapshots))
    trainer = Trainer(voice, outbox, place.keys, rules=_rules(script), sanity=sanity)
    brake = Brake(SystemClock(), pulled_in(begun or ()))
    ending.callback(opened.loop.spawn(hear(opened.log.store, run_id, brake, head)).cancel)
    patient = settings if retraining is None else msgspec.structs.replace(settings, decision_wait_s=LOG_WAIT_S)
    governor, ask = Governor(settings.vitals), partial(call, timeout_s=patient.decision_wait_s)
    checkpoints = Checkpoints(trainer, place, growth, governor, script, ask)
    crew = _crew(script, growth, checkpoints)
    rollbacks = Rollbacks(trainer, growth, checkpoints, governor, script, ask)
    fences = Fences(opened.loop, trainer, growth, place, model, patient, rollbacks, brake)
    if begun is None:
        last = _start(facts, trainer, fences, checkpoints, rollbacks, call)
    else:
        begun = _handed_over(begun, facts, trainer, outbox, opened, script.say)
        last = _go_on(begun, trainer, fences, checkpoints, call, first=retraining is not None)
        script.say(what_was_put_back(run_id, last.at.epoch, script))
    remember(model, first_checkpoint(begun or call(find_run(opened.log.store, run_id))), opened, place)
    measured = measuring(opened, run_id, wanted=script.telemetry)
    ending.callback(measured.close)
    growth.glance(survey_of(model).shapes)
    crew.welcome(run_id, facts, checkpoints.restored, last)
    return Session(
        run_id=run_id,
        model=model,
        fences=fences,
        growth=growth,
        evaluation=Evaluation(model, script.evaluate),
        checkpoints=checkpoints,
        recovery=Recovery(governor, rollbacks, fences, script.vitals, script.say, run_id=run_id, culled=growth.culled),
        settings=settings,
        facts=facts,
        last=last,
        measuring=measured,
        close=ending.close,
        say=script.say,
        retraining=retraining,
        crew=crew,
    )


def _rules(script: Script) -> Rules:
    decides = policy(script.settings.policy) if script.controller == HEURISTIC else None
    return Rules(seed_rules(script.settings.gates), decides)


def _crew(script: Script, growth: Growth, checkpoints: Checkpoints) -> Crew:
    if not isinstance(script.ranks, ProcessRanks):
        return Nobody()
    leading = Leading(script.ranks, script.model, growth, script.companions)
    checkpoints.companions = lambda: leading.companions
    return leading


def _outbox(run_id: str, opened: OpenLog, place: Place) -> Outbox:
    file = place.outboxes / f"{run_id}{SUFFIX}" if opened.outlives else None
    try:
        return Outbox(file, opened.outbox_bytes)
    except OutboxHeld as held:
        raise RunHeld(run_id, str(held)) from held


def _handed_over(
    begun: Sequence[Recorded],
    facts: RunFacts,
    trainer: Trainer,
    outbox: Outbox,
    opened: OpenLog,
    say: Callable[[str], None],
) -> Sequence[Recorded]:
    """Record what an earlier process of the run left in the outbox, and return the run's events as they are then.

    Raises:
        ForkIncomplete: the run does not hold the history that it was to take over.
        ResumeMismatch: another script cannot speak for the run; nothing is recorded.
        RunFinishedAlready: the run's end is on record, if only now.
    """
    call, run = opened.loop.call, RUN.fold(cast(Any, recorded.event) for recorded in begun)
    if run.copying:
        raise ForkIncomplete(trainer.run_id)
    if run.halted:
        raise RunIsHalted(trainer.run_id, run.halted.reason)
    if not run.finished:
        refuse_other_script(run.facts or RunFacts(), facts)
    if outbox.set_aside is not None:
        say(f"the outbox of run {trainer.run_id} was damaged: a copy is kept as {outbox.set_aside}")
    # What waits was said in the newest timeline: a run does not roll back before its outbox is empty.
    trainer.timeline.speak_in(run.timeline)
    waited = outbox.depth
    call(trainer.handover.drain())
    if waited:
        taken = waited - len(trainer.handover.refused)
        say(f"{taken} facts of run {trainer.run_id} waited in its outbox; the log has them now")
    for why in trainer.handover.refused:
        say(f"a fact that waited was refused, because the run went on without it: {why}")
    begun = call(find_run(opened.log.store, trainer.run_id))
    if RUN.fold(cast(Any, recorded.event) for recorded in begun).finished:
        call(trainer.close_reports())
        raise RunFinishedAlready(trainer.run_id)
    return begun


def _facts(script: Script) -> RunFacts:
    model = script.model
    return RunFacts(
        model_class=f"{type(model).__module__}.{type(model).__qualname__}",
        model_sha256=model_sha256(model),
        host_parameters=sum(parameter.numel() for parameter in model.parameters()),
        sites=wrapped_sites(model),
        settings_json=msgspec.json.encode(script.settings, order="sorted").decode(),
        torch_version=str(torch.__version__),
        python_version=platform.python_version(),
        esper_version=version("esper-growth"),
        data=script.data,
        seed=script.seed,
        objective=script.objective is not None,
        controller=script.controller or NOBODY,
        policy_version=script.settings.policy.version() if script.controller == HEURISTIC else "",
    )


def _start(
    facts: RunFacts, trainer: Trainer, fences: Fences, checkpoints: Checkpoints, rollbacks: Rollbacks, call: Call
) -> EpochFacts:
    call(trainer.register(facts.sites))
    fences.show_due(Moment())
    first = checkpoints.take(Moment())
    call(trainer.start(facts, first.checkpoint))
    rollbacks.keep(first)
    return EpochFacts(at=Moment())


async def find_run(store: EventStore, wanted: str) -> tuple[Recorded, ...]:
    """Return the events of the run called *wanted*: "latest", an id or the unique beginning of one.

    Raises:
        NothingToResume: none, or more than one, fits.
    """
    fitting = await runs_called(store, wanted)
    events = await store.read_stream(run_stream(fitting[0])) if len(fitting) == 1 else ()
    if not any(isinstance(recorded.event, RunStarted) for recorded in events):
        raise NothingToResume(wanted)
    return tuple(events)


def _go_on(
    begun: Sequence[Recorded], trainer: Trainer, fences: Fences, checkpoints: Checkpoints, call: Call, *, first: bool
) -> EpochFacts:
    """Put the newest checkpoint back, or the *first*, and record that the run goes on; return the last epoch it holds.

    Nothing is written to a log that the checkpoint does not belong to, nor for a checkpoint that is damaged.
    """
    run = RUN.fold(cast(Any, recorded.event) for recorded in begun)
    known = [recorded.event.checkpoint for recorded in begun if isinstance(recorded.event, CheckpointCommitted)]
    checkpoint = known[0 if first else -1]
    seeds = {row.seed_id: call(trainer.history(row.seed_id)) for row in checkpoint.seeds}
    held = lineage_at(checkpoint, begun).epochs
    checkpoints.restore(checkpoint, call(trainer.log_identity()), seeds, held)
    call(trainer.resume(checkpoint, run.attempt + 1))
    fences.show_due(checkpoint.at)
    return held[-1] if held else EpochFacts(at=checkpoint.at)


def _to_stdout(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
