"""The library registers a kernel only when every byte of its bundle is as it should be."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from actors.bundles import sign_with
from actors.place import Place
from actors.urza import run_librarian
from esper.leyline.v1.job_pb2 import CompileBlueprint, CompiledKernel, CompileJobQuarantined, KernelCompiled
from esper.leyline.v1.kernel_pb2 import KernelRegistered, KernelRejected, KernelRequested
from esper.urza.bundle import pack
from eventstore.signing import Keys
from eventstore.store import Context
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
