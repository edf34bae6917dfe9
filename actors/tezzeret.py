"""The forge: takes compile commands, has each kernel made once, and records what became of it."""

import asyncio
import shutil
import tempfile
from pathlib import Path

import msgspec
import stamina

from actors.bundles import sign_with
from actors.clock import Clock, SystemClock
from actors.compiler import Compiler
from actors.dispatch import AggregateCache, dispatch
from actors.epoch import begin_epoch
from actors.ids import derived_id
from actors.place import Log, Place
from actors.settling import Patience, settle
from esper.leyline.canonical import canonical_bytes, kernel_key
from esper.leyline.v1.job_pb2 import (
    CompileBlueprint,
    CompiledKernel,
    CompileStageTiming,
    FailCompileAttempt,
    FinishCompile,
    StartCompileAttempt,
)
from esper.leyline.v1.kernel_pb2 import KernelSpec
from esper.tezzeret.outcome import SPEC_FILE, Forged, NotForged, Outcome, StageTiming
from esper.tezzeret.rules.job import JOB, ORPHANED, ORPHANS_AT_MOST, Job, JobCommand, StaleForge
from esper.urza.bundle import pack
from esper.urza.manifest import PARTS, Manifest
from eventstore.errors import StoreUnavailable
from eventstore.store import Appended, CommandDelivery, CommandRecord, Context

_SCRATCH = "scratch"
# The job counts the forges that it killed and ends itself in quarantine; the queue must not give up before that.
_PATIENCE = Patience(tries=2 * ORPHANS_AT_MOST, first_pause_s=5.0)
_RECORDING_LIMIT_S = 60.0


class ForgeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long the forge waits: for a whole attempt, for the compiler if eager is ready, and between signs of life."""

    attempt_timeout_s: float = 120.0
    compile_patience_s: float = 20.0
    ack_wait_s: float = 12.0


async def run_forge(log: Log, place: Place, settings: ForgeSettings | None = None, clock: Clock | None = None) -> None:
    """Forge until cancelled. A command is acknowledged only when its job is over, so a killed forge loses none."""
    settings, clock = settings or ForgeSettings(), clock or SystemClock()
    epoch = await begin_epoch(log.store, "tezzeret", durable=log.durable, clock=clock)
    # What a killed forge left behind: nobody will finish it.
    await asyncio.to_thread(shutil.rmtree, place.cache / _SCRATCH, ignore_errors=True)
    async with Compiler(cache=place.cache / "inductor", log=place.logs / "compiler.log") as compiler:
        forge = ForgeActor(log, place, settings, clock, compiler, epoch)
        commands = log.bus.commands("tezzeret", ack_wait_s=settings.ack_wait_s, deliveries_at_most=_PATIENCE.tries)
        async for delivery in commands:
            await forge.answer(delivery)


class ForgeActor:
    """One life of the forge; its epoch fences out what older lives may still say."""

    def __init__(
        self, log: Log, place: Place, settings: ForgeSettings, clock: Clock, compiler: Compiler, epoch: int
    ) -> None:
        self._log, self._place, self._settings, self._clock = log, place, settings, clock
        self._compiler, self._epoch = compiler, epoch
        self._cache = AggregateCache(snapshots=place.snapshots)

    async def answer(self, delivery: CommandDelivery) -> None:
        """Bring the commanded job to its end, and only then acknowledge."""
        record = delivery.record
        command = record.command
        if not isinstance(command, CompileBlueprint) or record.stream.aggregate_id != kernel_key(command.spec):
            await delivery.dead_letter(f"{type(command).__name__} for {record.stream} is no job for the forge")
            return
        await settle(delivery, self._see_through(delivery, command), again_on=(StaleForge,), patience=_PATIENCE)

    async def _see_through(self, delivery: CommandDelivery, command: CompileBlueprint) -> None:
        record = delivery.record
        queued = await self._tell(record, command, record.command_id, record.causation_id)
        cause = _last(queued, record.causation_id)
        while not (job := await self._job(record)).over:
            if job.status == "running":
                orphan = FailCompileAttempt(
                    forge_epoch=self._epoch, attempt=job.attempt, reason=ORPHANED, detail="the forge ended"
                )
                failed = await self._tell(record, orphan, self._named(record, ORPHANED, job.attempt), cause)
                cause = _last(failed, cause)
                continue
            attempt = job.attempt + 1
            start = StartCompileAttempt(forge_epoch=self._epoch, timeout_s=self._settings.attempt_timeout_s)
            started = await self._tell(record, start, self._named(record, "start", attempt), cause)
            ending = await self._attempt(delivery, command.spec, attempt)
            ended = await self._tell(record, ending, self._named(record, "end", attempt), _last(started, cause))
            cause = _last(ended, cause)

    async def _attempt(
        self, delivery: CommandDelivery, spec: KernelSpec, attempt: int
    ) -> FinishCompile | FailCompileAttempt:
        """Run the compiler once, and say all the while that the command is being worked on."""
        settings = self._settings
        scratch_root = self._place.cache / _SCRATCH
        scratch_root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=scratch_root, ignore_cleanup_errors=True) as name:
            scratch = Path(name)
            (scratch / SPEC_FILE).write_bytes(canonical_bytes(spec))
            async with asyncio.TaskGroup() as group:
                pulse = group.create_task(_pulse(delivery, settings.ack_wait_s / 3))
                outcome = await self._compiler.forge(
                    scratch, patience_s=settings.compile_patience_s, limit_s=settings.attempt_timeout_s
                )
                ending = await asyncio.to_thread(self._ending, outcome, scratch, spec, attempt)
                pulse.cancel()
        return ending

    def _ending(
        self, outcome: Outcome, scratch: Path, spec: KernelSpec, attempt: int
    ) -> FinishCompile | FailCompileAttempt:
        """Store what was made and return the command that records it."""
        if isinstance(outcome, NotForged):
            return FailCompileAttempt(
                forge_epoch=self._epoch,
                attempt=attempt,
                reason=outcome.reason,
                detail=outcome.detail,
                stages=_timings(outcome.stages),
            )
        parts = {name: (scratch / name).read_bytes() for name in PARTS}
        packed = pack(_manifest(spec, outcome), parts, self._place.blobs.put, sign_with(self._place.keys))
        kernel = CompiledKernel(
            kernel_id=packed.kernel_id,
            bytes=packed.bytes,
            guard_digest=outcome.guard_digest,
            verdict=outcome.verdict,
            compile_ms=outcome.compile_ms,
            eager_ms=outcome.eager_ms,
            compiled_ms=outcome.compiled_ms,
            eager_fallback=outcome.eager_fallback,
            fallback_reason=outcome.fallback_reason,
            peak_rss_mib=outcome.peak_rss_mib,
            stages=_timings(outcome.stages),
        )
        return FinishCompile(forge_epoch=self._epoch, attempt=attempt, kernel=kernel)

    async def _job(self, record: CommandRecord) -> Job:
        return (await self._cache.caught_up(self._log.store, JOB, record.stream)).state

    async def _tell(self, record: CommandRecord, command: JobCommand, command_id: str, cause: str) -> Appended | None:
        context = Context(
            command_id=command_id,
            command_type=command.DESCRIPTOR.full_name,
            recorded_at_ns=self._clock.now_ns(),
            actor="tezzeret",
            actor_epoch=self._epoch,
            causation_id=cause,
            correlation_id=record.correlation_id,
            run_id=record.run_id,
            traceparent=record.traceparent,
        )
        # A server that restarts must not cost the kernel that was just made.
        async for retry in stamina.retry_context(on=StoreUnavailable, attempts=None, timeout=_RECORDING_LIMIT_S):
            with retry:
                return await dispatch(self._log.store, JOB, record.stream, command, context, cache=self._cache)
        raise AssertionError("unreachable: the last retry returns or raises")

    def _named(self, record: CommandRecord, what: str, attempt: int) -> str:
        return derived_id(str(record.stream), what, str(attempt), str(self._epoch))


def _last(appended: Appended | None, otherwise: str) -> str:
    """Return the id of the event that the next command follows from."""
    return appended.events[-1].event_id if appended else otherwise


async def _pulse(delivery: CommandDelivery, period_s: float) -> None:
    while True:
        await asyncio.sleep(period_s)
        try:
            await delivery.in_progress()
        except StoreUnavailable:
            # The server is away; the command will be delivered again, and its job found done or orphaned.
            continue


def _manifest(spec: KernelSpec, forged: Forged) -> Manifest:
    return Manifest(
        kernel_key=kernel_key(spec),
        spec=canonical_bytes(spec).hex(),
        guard_digest=forged.guard_digest,
        verdict=forged.verdict,
        eager_fallback=forged.eager_fallback,
        fallback_reason=forged.fallback_reason,
        compile_ms=forged.compile_ms,
        eager_ms=forged.eager_ms,
        compiled_ms=forged.compiled_ms,
        torch_version=forged.torch_version,
        host=forged.host,
        files={},
    )


def _timings(stages: tuple[StageTiming, ...]) -> list[CompileStageTiming]:
    return [
        CompileStageTiming(
            stage=timing.stage,
            duration_ms=timing.duration_ms,
            sha256=timing.sha256,
            detail=timing.detail,
        )
        for timing in stages
    ]
