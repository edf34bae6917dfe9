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

from actors.clock import SystemClock
from actors.dispatch import AggregateCache
from actors.ids import new_id
from actors.logs import configure_if_unset
from actors.place import Place
from actors.streams import run_stream, seed_id_of
from actors.trainer import Trainer
from esper.api.checkpoints import Checkpoints
from esper.api.errors import NothingToResume, ResumeMismatch, RunFinishedAlready
from esper.api.evaluation import Evaluate, Evaluation
from esper.api.fences import Fences
from esper.api.growth import Growth
from esper.api.kernels import sanity
from esper.api.logs import EMBEDDED, open_named
from esper.api.session import Session
from esper.api.settings import GrowthSettings
from esper.api.wrap import wrapped_sites
from esper.kasmina.rules.seed import seed_rules
from esper.leyline.v1.run_pb2 import CheckpointCommitted, EpochEnded, EpochFacts, RunFacts, RunStarted
from esper.leyline.v1.site_pb2 import Moment, Site
from esper.tamiyo.rules.heuristic import policy
from esper.tolaria.checkpoint import Stateful, model_sha256
from esper.tolaria.rules.run import RUN
from eventstore.store import EventStore, Recorded

LATEST = "latest"
HEURISTIC = "heuristic"
RUN_ID_DIGITS = 32

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
    Esper makes. *stateful* names whatever else must be saved with the run: schedulers, scalers, generators of your
    loaders. *controller* None leaves every slot to your own hand.

    Raises:
        NotWrapped: call `wrap` first.
        NothingToResume, RunFinishedAlready, ResumeMismatch, KernelLost, LogReplaced: *resume* cannot be done.
        StackNotReady, StoreUnavailable: the log cannot be reached.
    """
    configure_if_unset()
    settings = settings or GrowthSettings()
    facts = _facts(model, wrapped_sites(model), settings, seed, data)
    place = Place.at(Path(folder))
    opened = open_named(log, place)
    try:
        call = opened.loop.call
        begun = None if resume is None else call(find_run(opened.log.store, resume))
        run_id = begun[0].stream.aggregate_id if begun else new_id(SystemClock(), random.SystemRandom())
        growth = Growth(model, optimizer, facts.sites, settings)
        trainer = Trainer(
            opened.log,
            run_id,
            SystemClock(),
            seed_rules=seed_rules(settings.gates),
            policy_rules=policy(settings.policy) if controller == HEURISTIC else None,
            sanity=sanity,
            cache=AggregateCache(snapshots=place.snapshots),
        )
        fences = Fences(opened.loop, trainer, growth, place, model, settings)
        checkpoints = Checkpoints(trainer, opened.log, place, model, optimizer, growth, dict(stateful or {}), call)
        if begun is None:
            last = _start(facts, trainer, growth, checkpoints, call)
        else:
            last = _go_on(begun, facts, trainer, fences, checkpoints, call)
        return Session(
            run_id=run_id,
            model=model,
            fences=fences,
            growth=growth,
            evaluation=Evaluation(model, evaluate),
            checkpoints=checkpoints,
            settings=settings,
            facts=facts,
            last=last,
            close=opened.close,
            say=say or _to_stdout,
        )
    except BaseException:
        opened.close()
        raise


def _facts(model: nn.Module, sites: Sequence[Site], settings: GrowthSettings, seed: int, data: str) -> RunFacts:
    return RunFacts(
        model_class=f"{type(model).__module__}.{type(model).__qualname__}",
        model_sha256=model_sha256(model),
        host_parameters=sum(parameter.numel() for parameter in model.parameters()),
        sites=sites,
        settings_json=msgspec.json.encode(settings, order="sorted").decode(),
        torch_version=str(torch.__version__),
        python_version=platform.python_version(),
        esper_version=version("esper-growth"),
        data=data,
        seed=seed,
    )


def _start(facts: RunFacts, trainer: Trainer, growth: Growth, checkpoints: Checkpoints, call: Call) -> EpochFacts:
    for recorded in call(trainer.register(facts.sites)):
        growth.fold(seed_id_of(recorded.stream), recorded.event)
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
    """Put the newest checkpoint back and record that the run goes on; return the last epoch it holds."""
    run = RUN.fold(cast(Any, recorded.event) for recorded in begun)
    if run.finished:
        raise RunFinishedAlready(trainer.run_id)
    _refuse_other_script(run.facts or RunFacts(), facts)
    committed = [recorded for recorded in begun if isinstance(recorded.event, CheckpointCommitted)][-1]
    assert isinstance(committed.event, CheckpointCommitted)  # noqa: S101 - selected as such above
    checkpoint = committed.event.checkpoint
    fences.schedule(call(trainer.resume(checkpoint, run.attempt + 1, committed.position)))
    checkpoints.restore(checkpoint)
    ended = [recorded.event.facts for recorded in begun if isinstance(recorded.event, EpochEnded)]
    return next((epoch for epoch in ended if epoch.at == checkpoint.at), EpochFacts(at=checkpoint.at))


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
