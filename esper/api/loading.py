"""A model as a run had grown it, put together again from the log and the blobs: no training, no script."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar, cast

import msgspec
import torch
from torch import nn

from actors.expiry import why_expired
from actors.place import Place
from actors.runs import LATEST, runs_called
from actors.streams import run_stream, seed_stream
from esper.api.attach import refuse_unless_free
from esper.api.errors import NothingToLoad
from esper.api.growth import IN_THE_FORWARD, Growth
from esper.api.logs import EMBEDDED, open_named
from esper.api.original import first_checkpoint, refuse_other_host, remember
from esper.api.regrowing import fold_to, regrow, require_blueprints
from esper.api.settings import GrowthSettings
from esper.api.unwrap import unwrap
from esper.api.wrap import wrap_as
from esper.leyline.v1.enums_pb2 import SeedLifecycleStage as Stage
from esper.leyline.v1.run_pb2 import Checkpoint, CheckpointCommitted, RunFacts, RunStarted
from esper.tolaria.checkpoint import CheckpointBroken, model_sha256, read, restore_model
from esper.tolaria.rules.lineage import lineage
from esper.tolaria.rules.run import RunEvent
from eventstore.store import EventStore, Recorded

Model = TypeVar("Model", bound=nn.Module)
LOG_WAIT_S = 60.0


class Grown(msgspec.Struct, frozen=True):
    """What the log holds of a run at one of its checkpoints, committed at `position`; it began with `first`."""

    run_id: str
    facts: RunFacts
    first: Checkpoint
    checkpoint: Checkpoint
    position: int
    seeds: Mapping[str, tuple[Recorded, ...]]


def load(
    model: Model,
    run: str = LATEST,
    *,
    at: int | None = None,
    log: str = EMBEDDED,
    folder: str | Path = ".esper",
) -> Model:
    """Give a freshly built host what a run had grown in it, and return the same object.

    *model* is built as the training script builds it, wrapped or not; its weights do not matter. What comes back
    computes what the run's model computed at its newest checkpoint, or at the last one that was committed up to
    position *at* and not abandoned by a rollback then. Seeds are rebuilt from their verified kernels, then the weights
    are loaded strictly. Go on with `esper.unwrap` and `esper.bake`.

    Raises:
        NothingToLoad: no such run, or no checkpoint of it at *at* or before.
        HostMismatch: *model* is not built as the run's host was; the message names the first difference.
        AttachedAlready: *model* is in a session, or carries seeds.
        KernelLost, CheckpointBroken, BlobMissing, BlobCorrupt: what was stored no longer verifies.
        BlueprintMissing: a seed grew from a blueprint of your own, which is not registered here as it was.
        StackNotReady, StoreUnavailable: the log cannot be reached.
    """
    place = Place.at(Path(folder))
    opened = open_named(log, place)
    try:
        grown = opened.loop.call(read_grown(opened.log.store, run, at), LOG_WAIT_S)
        rebuild(model, grown, opened.seen_from(place))
        remember(model, grown.first, opened, place)
    finally:
        opened.close()
    sys.stdout.write(_told(grown))
    return model


async def read_grown(store: EventStore, run: str, at: int | None) -> Grown:
    """Read what is needed to rebuild the run called *run* at its last checkpoint up to position *at*.

    Raises:
        NothingToLoad: there is none.
    """
    fitting = await runs_called(store, run)
    if len(fitting) != 1:
        raise NothingToLoad(run, f"{len(fitting)} runs are called so: `esper runs` lists them")
    events = await store.read_stream(run_stream(fitting[0]))
    facts = next((one.event.facts for one in events if isinstance(one.event, RunStarted)), None)
    if facts is None:
        raise NothingToLoad(run, "no run is called so: `esper runs` lists them")
    committed = {
        one.event.checkpoint.checkpoint_id: one.position for one in events if isinstance(one.event, CheckpointCommitted)
    }
    reached = lineage(cast("RunEvent", one.event) for one in events if at is None or one.position <= at).checkpoints
    if not reached:
        raise NothingToLoad(run, f"its first checkpoint was committed after position {at}")
    checkpoint, _ = reached[-1]
    if gone := why_expired(events, checkpoint.checkpoint_id):
        raise NothingToLoad(run, gone)
    position = committed[checkpoint.checkpoint_id]
    ids = [row.seed_id for row in checkpoint.seeds]
    seeds = {seed_id: tuple(await store.read_stream(seed_stream(fitting[0], seed_id))) for seed_id in ids}
    return Grown(fitting[0], facts, first_checkpoint(events), checkpoint, position, seeds)


def rebuild(model: nn.Module, grown: Grown, place: Place) -> None:
    """Give *model* what *grown* tells of; on failure it is as it was.

    Raises: as `load`.
    """
    parts = read(grown.checkpoint.manifest_sha256, place.blobs.get)
    require_blueprints(grown.checkpoint, _until(grown.checkpoint, grown.seeds))
    refuse_other_host(model, parts["model"])
    wrapped_here = wrap_as(model, tuple(grown.facts.sites))
    try:
        refuse_unless_free(model)
        settings = msgspec.json.decode(grown.facts.settings_json, type=GrowthSettings)
        # Kept seeds join an optimizer; nobody steps this one.
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        growth = Growth(model, optimizer, grown.facts.sites, settings)
        fold_to(growth, grown.checkpoint, grown.seeds)
        regrow(growth, parts, place, model, optimizer)
    except BaseException:
        if wrapped_here:
            unwrap(model, "host")
        raise
    restore_model(parts, model)
    if model_sha256(model) != grown.checkpoint.model_sha256:
        raise CheckpointBroken("model", "has other weights than the log recorded of it")


def _until(checkpoint: Checkpoint, seeds: Mapping[str, tuple[Recorded, ...]]) -> Mapping[str, tuple[Recorded, ...]]:
    """Return what *seeds* holds up to *checkpoint*."""
    versions = {row.seed_id: row.version for row in checkpoint.seeds}
    return {
        seed_id: tuple(each for each in history if each.version <= versions[seed_id])
        for seed_id, history in seeds.items()
    }


def _told(grown: Grown) -> str:
    at, stages = grown.checkpoint.at, [row.stage for row in grown.checkpoint.seeds]
    return (
        f"run {grown.run_id}, loaded from the checkpoint of epoch {at.epoch} (step {at.step}, position "
        f"{grown.position}): {stages.count(Stage.SEED_STAGE_FOSSILIZED)} kept seeds, "
        f"{sum(stage in IN_THE_FORWARD for stage in stages)} more in its forward pass\n"
    )
