"""Beginning a training run, or going on with one."""

import platform
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import msgspec
import torch
from torch import nn
from torch._dynamo.eval_frame import OptimizedModule

from actors.clock import SystemClock
from actors.dispatch import AggregateCache
from actors.ids import new_id
from actors.logs import configure_if_unset
from actors.place import Place
from actors.streams import run_stream
from actors.trainer import Trainer
from esper.api.checkpoints import Checkpoints
from esper.api.errors import AttachedAlready, NothingToResume, ResumeMismatch, RunFinishedAlready
from esper.api.evaluation import Evaluate, Evaluation
from esper.api.fences import Fences
from esper.api.growth import Growth
from esper.api.kernels import sanity
from esper.api.logs import EMBEDDED, OpenLog, open_named
from esper.api.script import Script
from esper.api.session import Session
from esper.api.settings import GrowthSettings
from esper.api.wrap import refuse_compiled, survey_of, wrapped_sites
from esper.kasmina.doorway import declared
from esper.kasmina.planted import PLANTED
from esper.kasmina.rules.seed import seed_rules
from esper.kasmina.window import LossScale, unscaled
from esper.leyline.v1.run_pb2 import EpochEnded, EpochFacts, RunFacts, RunStarted
from esper.leyline.v1.site_pb2 import Moment
from esper.tamiyo.rules.heuristic import policy
from esper.tolaria.checkpoint import Stateful, model_sha256
from esper.tolaria.rules.run import RUN
from eventstore.store import EventStore, Recorded

LATEST = "latest"
HEURISTIC = "heuristic"
RUN_ID_DIGITS = 32

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
    say: Callable[[str], None] | None = None,
) -> Session:
    """Begin a training run of a wrapped *model*, or go on with one; use the result in a `with` statement.

    *evaluate* is called with the model at each epoch's end, and again with single seeds switched off: it returns a
    held-out score (larger is better), or a mapping with "score" and, better, "loss". *log* is "embedded", "memory"
    or "nats://...". *resume* is "latest", a run's id or its unique beginning. *seed* fixes every random draw that
    Esper makes. *stateful* names whatever else must be saved with the run: schedulers, scalers,
    generators of your loaders. A `torch.amp.GradScaler` must be among them: its factor is taken out of what seeds
    learn from. *controller* None leaves every slot to your own hand.

    Raises:
        NotWrapped: call `wrap` first.
        AttachedAlready: the model is in a session, or carries what one has grown.
        CompiledHost: the model is compiled, and its sites were not declared for that.
        NothingToResume, RunFinishedAlready, ResumeMismatch, KernelLost, LogReplaced: *resume* cannot be done.
        StackNotReady, StoreUnavailable: the log cannot be reached.
    """
    configure_if_unset()
    if isinstance(model, OptimizedModule):
        # What torch.compile returned; what was wrapped is inside.
        model = model.get_submodule("_orig_mod")
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
        say=say or _to_stdout,
    )
    refuse_unless_free(model)
    place = Place.at(Path(folder))
    return begin(script, open_named(log, place), place)


def loss_scale(stateful: Mapping[str, Stateful | torch.Generator]) -> LossScale:
    """Return what the loss is multiplied by before its backward pass, as the scaler in *stateful* has it."""
    scalers = [named for named in stateful.values() if isinstance(named, torch.amp.GradScaler)]
    if len(scalers) > 1:
        raise ValueError("several GradScalers in `stateful`: Esper cannot tell which one scales the loss; give one")
    return scalers[0].get_scale if scalers else unscaled


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


def begin(script: Script, opened: OpenLog, place: Place) -> Session:
    """Begin or resume the run of *script* on an open log, which is closed with the session, or at once on failure.

    Raises: as `attach`.
    """
    model = script.model
    model.__dict__[IN_SESSION] = id(model)

    def close() -> None:
        model.__dict__.pop(IN_SESSION, None)
        opened.close()

    try:
        return _session(script, opened, place, close)
    except BaseException:
        close()
        raise


def _session(script: Script, opened: OpenLog, place: Place, close: Callable[[], None]) -> Session:
    model, settings, call = script.model, script.settings, opened.loop.call
    facts = _facts(script)
    begun = None if script.resume is None else call(find_run(opened.log.store, script.resume))
    run_id = begun[0].stream.aggregate_id if begun else new_id(SystemClock(), random.SystemRandom())
    growth = Growth(model, script.optimizer, facts.sites, settings, loss_scale(script.stateful))
    trainer = Trainer(
        opened.log,
        run_id,
        SystemClock(),
        seed_rules=seed_rules(settings.gates),
        policy_rules=policy(settings.policy) if script.controller == HEURISTIC else None,
        sanity=sanity,
        cache=AggregateCache(snapshots=place.snapshots),
    )
    fences = Fences(opened.loop, trainer, growth, place, model, settings)
    checkpoints = Checkpoints(trainer, place, growth, script, fences.call)
    if begun is None:
        last = _start(facts, trainer, fences, checkpoints, call)
    else:
        last = _go_on(begun, facts, trainer, fences, checkpoints, call)
    growth.glance(survey_of(model).shapes)
    return Session(
        run_id=run_id,
        model=model,
        fences=fences,
        growth=growth,
        evaluation=Evaluation(model, script.evaluate),
        checkpoints=checkpoints,
        settings=settings,
        facts=facts,
        last=last,
        close=close,
        say=script.say,
    )


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
    )


def _start(facts: RunFacts, trainer: Trainer, fences: Fences, checkpoints: Checkpoints, call: Call) -> EpochFacts:
    call(trainer.register(facts.sites))
    fences.show_due(Moment())
    call(trainer.start(facts, checkpoints.take(Moment())))
    return EpochFacts(at=Moment())


async def find_run(store: EventStore, wanted: str) -> tuple[Recorded, ...]:
    """Return the events of the run called *wanted*: "latest", an id or the unique beginning of one.

    Raises:
        NothingToResume: none, or more than one, fits.
    """
    started: list[str] = []
    if len(wanted) == RUN_ID_DIGITS:
        started = [wanted]
    else:
        async for recorded in store.read_all():
            if isinstance(recorded.event, RunStarted):
                started.append(recorded.stream.aggregate_id)
    fitting = started[-1:] if wanted == LATEST else [run_id for run_id in started if run_id.startswith(wanted)]
    events = await store.read_stream(run_stream(fitting[0])) if len(fitting) == 1 else ()
    if not events:
        raise NothingToResume(wanted)
    return tuple(events)


def _go_on(
    begun: Sequence[Recorded],
    facts: RunFacts,
    trainer: Trainer,
    fences: Fences,
    checkpoints: Checkpoints,
    call: Call,
) -> EpochFacts:
    """Put the newest checkpoint back and record that the run goes on; return the last epoch it holds.

    Nothing is written to a log that the checkpoint does not belong to, nor for a checkpoint that is damaged.
    """
    run = RUN.fold(cast(Any, recorded.event) for recorded in begun)
    if run.finished:
        raise RunFinishedAlready(trainer.run_id)
    _refuse_other_script(run.facts or RunFacts(), facts)
    checkpoint = run.last_checkpoint
    assert checkpoint is not None  # noqa: S101 - a run starts with one
    seeds = {row.seed_id: call(trainer.history(row.seed_id)) for row in checkpoint.seeds}
    epochs = [recorded.event.facts for recorded in begun if isinstance(recorded.event, EpochEnded)]
    held = [epoch for epoch in epochs if epoch.at.epoch <= checkpoint.at.epoch]
    checkpoints.restore(checkpoint, call(trainer.log_identity()), seeds, held)
    call(trainer.resume(checkpoint, run.attempt + 1))
    fences.show_due(checkpoint.at)
    return held[-1] if held else EpochFacts(at=checkpoint.at)


def _refuse_other_script(then: RunFacts, now: RunFacts) -> None:
    pairs = {
        "the model's class": (then.model_class, now.model_class),
        "the list of sites": (str(list(then.sites)), str(list(now.sites))),
        "the growth settings": (then.settings_json, now.settings_json),
        "seed": (str(then.seed), str(now.seed)),
        "torch": (then.torch_version, now.torch_version),
    }
    for what, (before, after) in pairs.items():
        if before != after:
            raise ResumeMismatch(what, before, after)


def _to_stdout(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
