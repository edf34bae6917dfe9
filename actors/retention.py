"""Sweeping up the bytes of checkpoints that have expired: what nothing else in the log names, and nobody put lately.

Blobs are shared by content: by checkpoints of one run, by forks, by kernels. So the whole log is read first, and
everything it names is followed to the last part; what is left of an expired checkpoint then is nobody's.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from esper.leyline.v1.run_pb2 import CheckpointCommitted, CheckpointExpired
from eventstore.blobs import FolderBlobs
from eventstore.errors import BlobMissing
from eventstore.store import EventStore, Recorded

DIGEST = re.compile(r"[0-9a-f]{64}")
OBJECT = b"{"


class Swept(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a sweep: expired checkpoints, and of their blobs those removed, shared with others, put lately."""

    checkpoints: int = 0
    blobs: int = 0
    bytes: int = 0
    shared: int = 0
    too_young: int = 0


class Named(msgspec.Struct):
    """What the log names: `kept` must stay with all it leads to, `expired` are manifests that nobody may put back."""

    kept: set[str] = msgspec.field(default_factory=set[str])
    expired: dict[str, None] = msgspec.field(default_factory=dict[str, None])


async def named_in(store: EventStore, *, expired_before_ns: int) -> Named:
    """Read the whole log; a checkpoint that expired after *expired_before_ns* still counts as one.

    Raises: as `EventStore.read_all`.
    """
    committed: dict[tuple[str, str], str] = {}
    expired: set[tuple[str, str]] = set()
    named = Named()
    async for recorded in store.read_all():
        match recorded.event:
            case CheckpointCommitted(checkpoint=checkpoint):
                committed[_of_its_run(recorded, checkpoint.checkpoint_id)] = checkpoint.manifest_sha256
            case CheckpointExpired(checkpoint_id=checkpoint_id):
                if recorded.context.recorded_at_ns < expired_before_ns:
                    expired.add(_of_its_run(recorded, checkpoint_id))
            case event:
                named.kept.update(_digests(_plain(event)))
    for key, manifest in committed.items():
        if key in expired:
            named.expired[manifest] = None
        else:
            named.kept.add(manifest)
    return named


def sweep(blobs: FolderBlobs, named: Named, *, untouched_s: float, dry_run: bool = False) -> Swept:
    """Remove what only expired checkpoints name, each manifest after its parts: cut off anywhere, sweep again.

    A blob that somebody put in the last *untouched_s* seconds stays: it may be named in the log at any moment. So does
    its manifest, by which the next sweep finds it.

    Raises:
        BlobCorrupt: something that must stay is damaged, so that what it names is not known; nothing was removed.
    """
    live = _closure(blobs, named.kept)
    manifests = [manifest for manifest in named.expired if manifest not in live and blobs.size(manifest)]
    swept = Swept(checkpoints=len(manifests))
    gone: set[str] = set()
    for manifest in manifests:
        parts = dict.fromkeys(_leads_to(blobs, manifest))
        stays = [part for part in parts if part in live]
        swept = msgspec.structs.replace(swept, shared=swept.shared + len(stays))
        young = 0
        for part in [part for part in parts if part not in live and part not in gone] + [manifest]:
            if part == manifest and young:
                break
            size = blobs.size(part)
            freed = size if dry_run else blobs.remove(part, untouched_s=untouched_s)
            young += bool(size and not freed)
            gone.add(part)
            swept = msgspec.structs.replace(swept, blobs=swept.blobs + bool(freed), bytes=swept.bytes + freed)
        swept = msgspec.structs.replace(swept, too_young=swept.too_young + young)
    return swept


def _closure(blobs: FolderBlobs, roots: Iterable[str]) -> set[str]:
    live, pending = set[str](), list(roots)
    while pending:
        digest = pending.pop()
        if digest not in live:
            live.add(digest)
            pending.extend(_leads_to(blobs, digest))
    return live


def _leads_to(blobs: FolderBlobs, digest: str) -> list[str]:
    """Return the digests that a blob names: manifests are JSON, and everything else names nothing."""
    try:
        begins = next(blobs.chunks(digest), b"")[:1]
        if begins != OBJECT:
            return []
        content: Any = msgspec.json.decode(blobs.get(digest))
    except (BlobMissing, msgspec.DecodeError):
        return []
    return list(_digests(content))


def _plain(event: Message) -> Any:
    return MessageToDict(event, preserving_proto_field_name=True)


def _digests(content: Any) -> Iterator[str]:
    match content:
        case str() if DIGEST.fullmatch(content):
            yield content
        case dict():
            for name, value in content.items():  # pyright: ignore[reportUnknownVariableType] - parsed JSON
                yield from _digests(name)
                yield from _digests(value)
        case list():
            for value in content:  # pyright: ignore[reportUnknownVariableType] - parsed JSON
                yield from _digests(value)
        case _:
            return


def _of_its_run(recorded: Recorded, checkpoint_id: str) -> tuple[str, str]:
    """A fork has its parent's checkpoints under the same ids, and lets them expire by itself."""
    return recorded.stream.aggregate_id, checkpoint_id
