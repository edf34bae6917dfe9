"""The library registers a kernel only when every byte of its bundle is as it should be."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from google.protobuf.message import Message

from actors.bundles import sign_with
from actors.place import Place
from actors.urza import run_librarian
from esper.leyline.canonical import canonical_bytes, kernel_key
from esper.leyline.v1.blueprint_pb2 import BlueprintDescriptor, BlueprintRegistered
from esper.leyline.v1.job_pb2 import CompileBlueprint, CompiledKernel, CompileJobQuarantined, KernelCompiled
from esper.leyline.v1.kernel_pb2 import KernelRegistered, KernelRejected, KernelRequested, KernelSpec, OwnKernel
from esper.urza.bundle import pack
from eventstore.signing import Keys
from eventstore.store import Context, StreamName
from tests.actors.workshop import MemoryLog, answers, job_stream, request
from tests.urza.shelf import SPEC, Shelf

JOB = job_stream(SPEC)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place.at(tmp_path, {})


@asynccontextmanager
async def library(place: Place) -> AsyncGenerator[MemoryLog]:
    log = MemoryLog(place.keys)
    librarian = asyncio.create_task(run_librarian(log, place))
    yield log
    librarian.cancel()
    await asyncio.wait({librarian})


def packed(place: Place, keys: Keys) -> str:
    shelf = Shelf()
    return pack(shelf.manifest, shelf.parts, place.blobs.put, sign_with(keys)).kernel_id


async def verdict(log: MemoryLog, event: KernelCompiled | CompileJobQuarantined) -> KernelRegistered | KernelRejected:
    context = Context(
        command_id="0" * 32, command_type="FinishCompile", recorded_at_ns=1, actor="tezzeret", run_id="r1"
    )
    appended = await log.store.append(JOB, [event], expected=0, context=context)
    (answer,) = (await answers(log.store, [SPEC])).values()
    assert answer.context.causation_id == appended.events[-1].event_id
    assert answer.context.run_id == "r1"
    assert isinstance(answer.event, KernelRegistered | KernelRejected)
    return answer.event


def compiled(kernel_id: str) -> KernelCompiled:
    return KernelCompiled(attempt=1, kernel=CompiledKernel(kernel_id=kernel_id), spec=SPEC)


async def test_a_sound_bundle_is_registered_with_what_its_manifest_says(place: Place):
    async with library(place) as log:
        registered = await verdict(log, compiled(packed(place, place.keys)))
    assert isinstance(registered, KernelRegistered)
    assert (registered.spec, registered.job_id, registered.compile_ms) == (SPEC, JOB.aggregate_id, 12.5)
    assert (registered.prewarm_p50_ms, registered.prewarm_p95_ms) == pytest.approx((0.6, 0.69))


async def test_a_bundle_that_another_key_signed_is_rejected(place: Place):
    async with library(place) as log:
        rejected = await verdict(log, compiled(packed(place, Keys("somebody else's"))))
    assert isinstance(rejected, KernelRejected)
    assert rejected.reason == "signature_invalid"


async def test_a_damaged_blob_is_rejected_and_kept_for_inspection(place: Place):
    kernel_id = packed(place, place.keys)
    stored = [path for path in (place.folder / "blobs").rglob("*") if path.is_file()]
    damaged = max(stored, key=lambda path: path.stat().st_size)
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    async with library(place) as log:
        rejected = await verdict(log, compiled(kernel_id))
    assert isinstance(rejected, KernelRejected)
    assert rejected.reason == "digest_mismatch"
    assert damaged.exists()


async def test_a_bundle_that_is_not_there_is_rejected(place: Place):
    async with library(place) as log:
        rejected = await verdict(log, compiled("0" * 64))
    assert isinstance(rejected, KernelRejected)
    assert rejected.reason == "missing_part"


async def test_a_job_that_was_given_up_is_rejected(place: Place):
    async with library(place) as log:
        rejected = await verdict(log, CompileJobQuarantined(attempts=2, last_reason="crash"))
    assert isinstance(rejected, KernelRejected)
    assert (rejected.reason, rejected.detail) == ("quarantined", "2 attempts, the last: crash")


async def test_a_kernel_that_is_missing_is_sent_to_the_forge_once_and_one_that_is_there_is_not(place: Place):
    async with library(place) as log:
        await request(log.bus, SPEC)
        await request(log.bus, SPEC)
        sent = await anext(log.bus.commands("tezzeret"))
        assert (sent.record.stream, sent.record.command) == (JOB, CompileBlueprint(spec=SPEC, requester="kasmina"))
        await sent.ack()
        await verdict(log, compiled(packed(place, place.keys)))
        await request(log.bus, SPEC)
        await requested(log, times=3)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await anext(log.bus.commands("tezzeret"))


async def requested(log: MemoryLog, *, times: int) -> None:
    seen = 0
    async for recorded in log.store.follow():
        seen += isinstance(recorded.event, KernelRequested)
        if seen == times:
            return


def own_spec() -> KernelSpec:
    """A kernel of a blueprint that only its user's program knows."""
    spec = KernelSpec()
    spec.CopyFrom(SPEC)
    spec.blueprint_id, spec.blueprint_version = "mine", "own-" + "0" * 32
    return spec


async def brought(place: Place, spec: KernelSpec, described: BlueprintDescriptor, keys: Keys) -> Message:
    """Return what the library says of a kernel that its requester brings, and check that nobody was to forge it."""
    shelf = Shelf()
    manifest = msgspec.structs.replace(shelf.manifest, kernel_key=kernel_key(spec), spec=canonical_bytes(spec).hex())
    kernel_id = pack(manifest, shelf.parts, place.blobs.put, sign_with(keys)).kernel_id
    async with library(place) as log:
        await request(log.bus, spec, own=OwnKernel(kernel_id=kernel_id, blueprint=described))
        (answer,) = (await answers(log.store, [spec])).values()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await anext(log.bus.commands("tezzeret"))
        listed = await log.store.read_stream(StreamName("blueprint", described.blueprint_id))
        known = any(
            each.event.descriptor == described for each in listed if isinstance(each.event, BlueprintRegistered)
        )
        assert known == (not isinstance(answer.event, KernelRejected) or answer.event.reason != "not_own")
    return answer.event


MINE = BlueprintDescriptor(blueprint_id="mine", version="own-" + "0" * 32)


async def test_a_kernel_of_ones_own_blueprint_is_read_and_registered_and_never_built(place: Place):
    registered = await brought(place, own_spec(), MINE, place.keys)
    assert isinstance(registered, KernelRegistered)
    assert (registered.spec, registered.job_id, registered.version) == (own_spec(), "", "1.0.0")


async def test_a_brought_kernel_that_another_key_signed_is_rejected(place: Place):
    rejected = await brought(place, own_spec(), MINE, Keys("somebody else's"))
    assert isinstance(rejected, KernelRejected)
    assert rejected.reason == "signature_invalid"


@pytest.mark.parametrize(
    ("blueprint_id", "version"), [("BP021", "1.0.0"), ("BP021", "own-" + "0" * 32), ("mine", "own-" + "1" * 32)]
)
async def test_nobody_brings_a_kernel_of_the_catalogue_or_of_another_blueprint(
    place: Place, blueprint_id: str, version: str
):
    spec = own_spec()
    if blueprint_id == "BP021":
        spec.blueprint_id, spec.blueprint_version = blueprint_id, version
    rejected = await brought(place, spec, BlueprintDescriptor(blueprint_id=blueprint_id, version=version), place.keys)
    assert isinstance(rejected, KernelRejected)
    assert rejected.reason == "not_own"
