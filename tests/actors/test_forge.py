"""A requested kernel is forged once, registered when its bundle is sound, and survives the forge's death."""

import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest

from actors.bundles import fetch_from, verify_with
from actors.compiler import Compiler
from actors.place import Place
from actors.tezzeret import ForgeSettings, run_forge
from actors.urza import run_librarian
from esper.karn.builders import build
from esper.karn.catalogue import CATALOGUE
from esper.leyline.canonical import canonical_bytes
from esper.leyline.registry import COMMANDS, EVENTS
from esper.leyline.v1.blueprint_pb2 import BlueprintRegistered
from esper.leyline.v1.enums_pb2 import BLEND_MODE_CONVEX, BLEND_MODE_RESIDUAL, CompileStage, EngineVerdict
from esper.leyline.v1.job_pb2 import CompileAttemptFailed, CompileStageCompleted, KernelCompiled
from esper.leyline.v1.kernel_pb2 import KernelRegistered, KernelRejected
from esper.tezzeret.outcome import SPEC_FILE, Forged, NotForged
from esper.urza.library import open_kernel
from eventstore.oona.log import open_log
from eventstore.oona.server import LocalServer
from eventstore.store import Recorded, StreamName
from tests.actors.workshop import MemoryLog, answers, job_stream, kernel_spec, kernel_stream, request

FEEDFORWARD, IDENTITY, LOW_RANK, BATCH_NORM = "BP021", "BP001", "BP-PROJ-LoRA-64", "BP006"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the compiler keeps, so that each test need not begin from nothing."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def place(tmp_path: Path, cache: Path) -> Place:
    (tmp_path / "cache").symlink_to(cache)
    return Place.at(tmp_path, {})


@asynccontextmanager
async def workshop(place: Place) -> AsyncGenerator[MemoryLog]:
    log = MemoryLog(place.keys)
    async with asyncio.TaskGroup() as group:
        # On a busy machine a compile may take longer than the forge would wait for it while training waits.
        patient = ForgeSettings(compile_patience_s=110.0)
        working = [group.create_task(run_forge(log, place, patient)), group.create_task(run_librarian(log, place))]
        yield log
        for task in working:
            task.cancel()


async def test_a_requested_kernel_is_forged_registered_and_opens(place: Place):
    spec = kernel_spec(FEEDFORWARD)
    async with workshop(place) as log:
        await request(log.bus, spec)
        (answer,) = (await answers(log.store, [spec])).values()
        await request(log.bus, spec)
        await answers(log.store, [spec])
        job = [recorded.event for recorded in await log.store.read_stream(job_stream(spec))]
    registered = answer.event
    assert isinstance(registered, KernelRegistered)
    assert (registered.version, registered.eager_fallback, registered.fallback_reason) == ("1.0.0", False, "")
    assert registered.verdict in (EngineVerdict.ENGINE_VERDICT_EAGER, EngineVerdict.ENGINE_VERDICT_COMPILED)
    assert 0.0 < registered.prewarm_p50_ms <= registered.prewarm_p95_ms
    kernel = open_kernel(
        registered.kernel_id,
        spec,
        fetch_from(place.blobs),
        verify_with(place.keys),
        build,
        blend_mode=BLEND_MODE_RESIDUAL,
    )
    assert kernel.evidence["identity_error"] == 0.0
    (compiled,) = [event for event in job if isinstance(event, KernelCompiled)]
    assert len(compiled.kernel.eager_ms) == len(compiled.kernel.compiled_ms) >= 20
    stages = [event.timing.stage for event in job if isinstance(event, CompileStageCompleted)]
    assert stages == [stage for stage in CompileStage.values() if stage]
    assert list(place.cache.glob("scratch/*")) == []


async def test_what_library_and_forge_record_belongs_to_the_requesters_trace(place: Place):
    spec, trace = kernel_spec("BP001"), "ab" * 16
    async with workshop(place) as log:
        await request(log.bus, spec, traceparent=f"00-{trace}-{'cd' * 8}-01")
        await answers(log.store, [spec])
        recorded = [await log.store.read_stream(stream) for stream in (kernel_stream(spec), job_stream(spec))]
    assert {one.context.actor for events in recorded for one in events} == {"urza", "tezzeret"}
    assert {one.context.traceparent.split("-")[1] for events in recorded for one in events} == {trace}


async def test_what_cannot_be_built_is_tried_twice_and_rejected(place: Place):
    spec = kernel_spec(FEEDFORWARD, torch_version="0.4.1")
    async with workshop(place) as log:
        await request(log.bus, spec)
        (answer,) = (await answers(log.store, [spec])).values()
        job = [recorded.event for recorded in await log.store.read_stream(job_stream(spec))]
        listed = [recorded.event async for recorded in log.store.read_all()]
    assert isinstance(answer.event, KernelRejected)
    assert answer.event.reason == "quarantined"
    failures = [(event.reason, event.will_retry) for event in job if isinstance(event, CompileAttemptFailed)]
    assert failures == [("invalid", True), ("invalid", False)]
    blueprints = [event for event in listed if isinstance(event, BlueprintRegistered)]
    assert [event.descriptor for event in blueprints] == list(CATALOGUE.values())


async def test_kernels_that_cannot_be_compiled_are_served_eagerly_and_harmful_ones_not_at_all(place: Place):
    identity, batch_norm, endless = specs = [kernel_spec(name) for name in (IDENTITY, BATCH_NORM, "BP046")]
    async with workshop(place) as log:
        for spec in specs:
            await request(log.bus, spec)
        found = await answers(log.store, specs)
        job = [recorded.event for recorded in await log.store.read_stream(job_stream(endless))]
    plain, remembering = (found[kernel_stream(spec)].event for spec in (identity, batch_norm))
    assert isinstance(plain, KernelRegistered)
    assert isinstance(remembering, KernelRegistered)
    assert plain.verdict == remembering.verdict == EngineVerdict.ENGINE_VERDICT_EAGER
    assert not plain.eager_fallback
    assert "running statistics" in remembering.fallback_reason
    fetch, verify = fetch_from(place.blobs), verify_with(place.keys)
    kernel = open_kernel(remembering.kernel_id, batch_norm, fetch, verify, build, blend_mode=BLEND_MODE_CONVEX)
    assert kernel.evidence["identity_error"] == 0.0
    assert {name for name, _ in kernel.module.named_buffers()} >= {"norm.running_mean", "norm.running_var"}
    assert isinstance(found[kernel_stream(endless)].event, KernelRejected)
    assert all("is adversarial" in event.detail for event in job if isinstance(event, CompileAttemptFailed))


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    (tmp_path / SPEC_FILE).write_bytes(canonical_bytes(kernel_spec(FEEDFORWARD, init_seed=99, width=37)))
    return tmp_path


async def test_impatience_takes_the_eager_kernel_and_kills_the_compiler(scratch: Path, cache: Path):
    async with Compiler(cache=cache / "inductor", log=scratch / "log") as compiler:
        outcome = await compiler.forge(scratch, patience_s=0.0, limit_s=60.0)
        assert isinstance(outcome, Forged)
        assert (outcome.eager_fallback, outcome.compiled_ms) == (True, ())
        assert outcome.fallback_reason == "compile: not done within 0 s"
        again = await compiler.forge(scratch, patience_s=0.0, limit_s=0.0)
        assert isinstance(again, Forged)


async def test_a_time_out_without_any_kernel_is_a_failure(scratch: Path, cache: Path):
    async with Compiler(cache=cache / "inductor", log=scratch / "log") as compiler:
        outcome = await compiler.forge(scratch, patience_s=0.0, limit_s=0.0)
    assert isinstance(outcome, NotForged)
    assert outcome.reason == "timeout"


async def test_a_compiler_that_was_killed_is_a_crash_and_is_replaced(scratch: Path, cache: Path):
    async with Compiler(cache=cache / "inductor", log=scratch / "log") as compiler:
        os.kill(compiler.pid, signal.SIGKILL)
        outcome = await compiler.forge(scratch, patience_s=60.0, limit_s=60.0)
        assert isinstance(outcome, NotForged)
        assert outcome.reason == "crash"
        assert isinstance(await compiler.forge(scratch, patience_s=0.0, limit_s=60.0), Forged)


async def _live_until(done: "asyncio.Task[dict[StreamName, Recorded]]", place: Place, url: str, limit_s: float) -> None:
    """Let a forge live for *limit_s*, or until *done*; then kill it."""
    life = await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.actors.forge_life", str(place.folder), url)
    try:
        await asyncio.wait({done}, timeout=limit_s)
    finally:
        life.kill()
        await life.wait()


async def _forged_across_deaths(place: Place, url: str, *, deaths: int, kernels: int) -> None:
    blueprints = (FEEDFORWARD, LOW_RANK)
    specs = [kernel_spec(blueprints[number % 2], init_seed=number) for number in range(kernels)]
    random = Random(7)
    async with open_log(url, keys=place.keys, types=EVENTS, commands=COMMANDS, name="test") as log:
        librarian = asyncio.create_task(run_librarian(log, place))
        done = asyncio.create_task(answers(log.store, specs))
        for spec in specs:
            await request(log.bus, spec)
        for _ in range(deaths):
            await _live_until(done, place, url, random.uniform(2.0, 8.0))
        await _live_until(done, place, url, 200.0)
        assert done.done(), "not every kernel was answered for"
        librarian.cancel()
        compiled = Counter([one.stream async for one in log.store.read_all() if isinstance(one.event, KernelCompiled)])
        registered = Counter(
            [one.stream async for one in log.store.read_all() if isinstance(one.event, KernelRegistered)]
        )
    assert compiled == {job_stream(spec): 1 for spec in specs}
    assert registered == {kernel_stream(spec): 1 for spec in specs}


async def test_a_forge_that_is_killed_loses_no_job_and_does_none_twice(place: Place, own_nats_server: LocalServer):
    await _forged_across_deaths(place, own_nats_server.url, deaths=3, kernels=4)


@pytest.mark.slow
@pytest.mark.timeout(1800)
async def test_twenty_deaths_of_the_forge(place: Place, own_nats_server: LocalServer):
    await _forged_across_deaths(place, own_nats_server.url, deaths=20, kernels=60)
