"""How the processes of a training begin together."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import cast

import msgspec
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from actors.place import Place
from actors.streams import seed_stream
from esper.api.checkpoints import demand_same_count
from esper.api.errors import NothingToResume, RunFinishedAlready
from esper.api.growth import Growth
from esper.api.logs import OpenLog
from esper.api.parallel.crew import companions, reported
from esper.api.parallel.errors import FirstRankFailed, ParallelRefused, RanksDiffer
from esper.api.parallel.following import LOG_WAIT_S, Follower, Reader
from esper.api.parallel.words import ENCODER, Welcome
from esper.api.regrowing import fold_to, regrow
from esper.api.script import Script
from esper.api.settings import settings_of
from esper.api.wrap import survey_of
from esper.kasmina.ranks import ALONE, ProcessRanks, Ranks
from esper.kasmina.window import LossScale
from esper.leyline.v1.run_pb2 import Checkpoint, EpochFacts, RunFacts
from esper.leyline.v1.site_pb2 import Moment
from esper.tolaria.checkpoint import as_rank, read, restore


def ranks_of(model: nn.Module) -> Ranks:
    """Return the ranks that train *model*: those of a DistributedDataParallel, else this process alone.

    Raises:
        ParallelRefused: several processes, and something that growth does not work with.
    """
    if not isinstance(model, DistributedDataParallel):
        if dist.is_initialized() and dist.get_world_size() > 1:
            cure = "give esper.attach the DistributedDataParallel itself, on every rank"
            raise ParallelRefused("a model that is not DistributedDataParallel", cure)
        return ALONE
    if model.static_graph:
        raise ParallelRefused("static_graph=True", "leave it out: what grows changes the graph")
    group = cast("dist.ProcessGroup", model.process_group)
    if dist.get_world_size(group) == 1:
        return ALONE
    # A group of its own: its messages never wait in between those of the model's gradients.
    members = dist.get_process_group_ranks(group)
    own = dist.new_group(members, backend="gloo", use_local_synchronization=True)
    return ProcessRanks(cast("dist.ProcessGroup", own))


def host_of(model: nn.Module) -> nn.Module:
    """Return the module inside a DistributedDataParallel, or *model*."""
    return cast("nn.Module", model.module) if isinstance(model, DistributedDataParallel) else model


def demand_same_script(ranks: ProcessRanks, script: Script, facts: RunFacts) -> dict[str, bytes]:
    """Compare the scripts of all ranks; return what those but the first have of their own, as checkpoints hold it.

    Raises:
        RanksDiffer: on every rank; names the first thing that is not alike.
    """
    own = {
        "the model": facts.model_sha256,
        "the list of sites": str([site.label for site in facts.sites]),
        "the growth settings": facts.settings_json,
        "seed": str(facts.seed),
        "the controller": facts.controller,
        "resume": str(script.resume),
        "the names in stateful": str(sorted(script.stateful)),
    }
    found = [msgspec.msgpack.decode(word, type=dict[str, str]) for word in ranks.heard(ENCODER.encode(own))]
    for what in own:
        values = [each[what] for each in found]
        if len(set(values)) > 1:
            raise RanksDiffer(what, values, "Run the same script on every rank")
    return companions(ranks.heard(reported(0.0, script.stateful)))


def say_failed(ranks: ProcessRanks, error: BaseException) -> None:
    """Tell those that wait for rank 0 that it has not begun."""
    ranks.told(ENCODER.encode(Welcome(failed=(type(error).__name__, str(error)))))


def follow(
    script: Script,
    ranks: ProcessRanks,
    scale: LossScale,
    facts: RunFacts,
    open_log: Callable[[], tuple[OpenLog, Place]],
    ending: ExitStack,
) -> Follower:
    """Begin where rank 0 has begun; *ending* is closed with the session.

    Raises:
        NothingToResume, RunFinishedAlready, FirstRankFailed: rank 0 has not begun.
        CheckpointBroken, BlobMissing, BlobCorrupt, KernelLost: what it has begun from cannot be read here.
        StackNotReady, StoreUnavailable: the log cannot be reached.
    """
    welcome = msgspec.msgpack.decode(ranks.told(b""), type=Welcome)
    if welcome.failed is not None:
        _refuse(*welcome.failed, script)
    opened, place = open_log()
    ending.callback(opened.close)
    growth = Growth(
        script.model, script.optimizer, facts.sites, settings_of(welcome.settings), scale, ranks, script.objective
    )
    ending.callback(lambda: [slot.leave_ranks() for slot in growth.slots.values()])
    if welcome.checkpoint:
        _restore(Checkpoint.FromString(welcome.checkpoint), welcome.run_id, script, growth, opened, place)
    reader = Reader(welcome.run_id, script.model, growth, place, opened.log.store, opened.loop)
    reader.show(welcome.shown)
    growth.glance(survey_of(script.model).shapes)
    last = EpochFacts.FromString(welcome.last) if welcome.last else EpochFacts(at=Moment())
    return Follower(welcome.run_id, script, ranks, growth, reader, last, ending.close)


def _restore(
    checkpoint: Checkpoint, run_id: str, script: Script, growth: Growth, opened: OpenLog, place: Place
) -> None:
    parts = read(checkpoint.manifest_sha256, place.blobs.get)
    demand_same_count(parts, script.ranks)
    streams = {row.seed_id: seed_stream(run_id, row.seed_id) for row in checkpoint.seeds}
    seeds = {
        seed_id: opened.loop.call(opened.log.store.read_stream(stream), LOG_WAIT_S)
        for seed_id, stream in streams.items()
    }
    fold_to(growth, checkpoint, seeds)
    regrow(growth, parts, place, script.model, script.optimizer)
    restore(as_rank(parts, script.ranks.number), script.model, script.optimizer, script.stateful)
    growth.new_epoch()


def _refuse(error: str, why: str, script: Script) -> None:
    match error:
        case "NothingToResume":
            raise NothingToResume(str(script.resume))
        case "RunFinishedAlready":
            raise RunFinishedAlready(str(script.resume))
        case _:
            raise FirstRankFailed(f"{error}: {why}")
