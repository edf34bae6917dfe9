"""What a model was when its run began: where that is kept, and putting it back."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import msgspec
from torch import Tensor, nn

from actors.place import Place
from esper.api.errors import HostMismatch
from esper.api.logs import OpenLog, open_named
from esper.kasmina.errors import UnwrapRefused
from esper.kasmina.planted import SUBMODULE
from esper.leyline.v1.run_pb2 import Checkpoint, CheckpointCommitted
from esper.tolaria.checkpoint import CheckpointBroken, model_sha256, read, restore_model
from eventstore.store import Recorded

# A plain attribute of the model that names files and holds nothing open, so that copies and pickles keep it.
ORIGIN = "_esper_origin"


class Origin(msgspec.Struct, frozen=True):
    """The first checkpoint of the run that a model is in: its manifest, the weights' digest, and who keeps its parts.

    `log` is the server that keeps the blobs; empty where they lie in `folder`.
    """

    manifest_sha256: str
    model_sha256: str
    folder: str
    log: str


def first_checkpoint(run: Iterable[Recorded]) -> Checkpoint:
    """Return the checkpoint with which *run* began; every run has one."""
    return next(one.event.checkpoint for one in run if isinstance(one.event, CheckpointCommitted))


def remember(model: nn.Module, first: Checkpoint, opened: OpenLog, place: Place) -> None:
    """Note on *model* where *first*, with which its run began, is kept."""
    log = "" if opened.blobs is None else opened.name
    model.__dict__[ORIGIN] = Origin(first.manifest_sha256, first.model_sha256, str(place.folder), log)


def original_of(model: nn.Module) -> Callable[[], None]:
    """Read what *model* was when its run began, verified, and return what puts it back once it is bare again.

    Raises:
        UnwrapRefused: it was in no run.
        HostMismatch: the model's own layers are no longer those that it had.
        BlobMissing, BlobCorrupt, CheckpointBroken: the first checkpoint is damaged.
        StackNotReady, StoreUnavailable: its blobs are on a server, which cannot be reached.
    """
    origin = model.__dict__.get(ORIGIN)
    if not isinstance(origin, Origin):
        raise UnwrapRefused('no run recorded what it was: unwrap(model, "host") leaves the weights that it has')
    parts = _parts(origin)
    refuse_other_host(model, parts["model"])

    def put_back() -> None:
        restore_model(parts, model)
        if model_sha256(model) != origin.model_sha256:
            raise CheckpointBroken("model", "has other weights than the log recorded of it")

    return put_back


def _parts(origin: Origin) -> dict[str, Any]:
    place = Place.at(Path(origin.folder))
    if not origin.log:
        return read(origin.manifest_sha256, place.blobs.get)
    opened = open_named(origin.log, place)
    try:
        return read(origin.manifest_sha256, opened.seen_from(place).blobs.get)
    finally:
        opened.close()


def refuse_other_host(model: nn.Module, saved: Mapping[str, Tensor]) -> None:
    """Refuse a host whose own tensors are not those in *saved*; those of kept seeds, here or there, do not count.

    Raises:
        HostMismatch: names the first difference.
    """
    own, then = (_described(state) for state in (cast("Mapping[str, Any]", model.state_dict()), saved))
    for name in sorted(own.keys() | then.keys()):
        if own.get(name) != then.get(name):
            raise HostMismatch(name, then.get(name, "not there"), own.get(name, "not there"))


def _described(state: Mapping[str, Tensor]) -> dict[str, str]:
    return {
        name: f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
        for name, tensor in state.items()
        if f".{SUBMODULE}" not in f".{name}"
    }
