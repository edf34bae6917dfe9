"""The librarian: lists Karn's blueprints, has missing kernels forged, and registers those whose bundle is sound."""

import asyncio
from typing import Any

from google.protobuf.message import Message

from actors.bundles import fetch_from, verify_with
from actors.clock import Clock, SystemClock
from actors.dispatch import AggregateCache, dispatch
from actors.epoch import begin_epoch
from actors.ids import derived_id
from actors.place import Log, Place
from actors.settling import settle
from esper.karn.catalogue import CATALOGUE
from esper.karn.own import is_own
from esper.leyline.canonical import canonical_bytes, kernel_key, sha256_hex
from esper.leyline.decider import Decider
from esper.leyline.v1.blueprint_pb2 import BlueprintDescriptor, RegisterBlueprint
from esper.leyline.v1.enums_pb2 import EngineVerdict
from esper.leyline.v1.job_pb2 import CompileBlueprint, CompileJobQuarantined, KernelCompiled
from esper.leyline.v1.kernel_pb2 import RegisterKernel, RejectKernel, RequestKernel
from esper.urza.bundle import unpack
from esper.urza.errors import BundleRefused
from esper.urza.manifest import Manifest
from esper.urza.percentile import percentile
from esper.urza.rules.blueprint import BLUEPRINT
from esper.urza.rules.kernel import KERNEL
from eventstore.store import Appended, CommandDelivery, CommandRecord, Context, Recorded, StreamName


async def run_librarian(log: Log, place: Place, clock: Clock | None = None) -> None:
    """Keep the library until cancelled."""
    clock = clock or SystemClock()
    epoch = await begin_epoch(log.store, "urza", durable=log.durable, clock=clock)
    librarian = Librarian(log, place, clock, epoch)
    async with asyncio.TaskGroup() as group:
        # Beside the others: kernels need not wait until the whole catalogue is written down.
        group.create_task(librarian.list_blueprints())
        group.create_task(librarian.answer_requests())
        group.create_task(librarian.register_compiled())


class Librarian:
    """One life of the librarian."""

    def __init__(self, log: Log, place: Place, clock: Clock, epoch: int) -> None:
        self._log, self._place, self._clock, self._epoch = log, place, clock, epoch
        self._cache = AggregateCache(snapshots=place.snapshots)

    async def list_blueprints(self) -> None:
        """Record each blueprint of the catalogue, unless it is recorded as it is."""
        for described in CATALOGUE.values():
            await self._list(described, None)

    async def _list(self, described: BlueprintDescriptor, cause: Recorded | None) -> None:
        command = RegisterBlueprint(descriptor=described)
        name = derived_id("register", described.blueprint_id, sha256_hex(canonical_bytes(described)))
        stream = StreamName("blueprint", described.blueprint_id)
        await self._tell(BLUEPRINT, stream, command, self._context(command, name, cause))

    async def answer_requests(self) -> None:
        """Answer each request for a kernel: record it, and have the kernel forged unless that is done."""
        async for delivery in self._log.bus.commands("urza"):
            await self._answer(delivery)

    async def register_compiled(self) -> None:
        """Read what the forge recorded, from the log's beginning; register or reject what each job made."""
        async for delivery in self._log.bus.events("urza-compiled", ["job"]):
            for recorded in delivery.events:
                match recorded.event:
                    case KernelCompiled():
                        await self._judge(recorded, recorded.event)
                    case CompileJobQuarantined():
                        why = RejectKernel(
                            job_id=recorded.stream.aggregate_id,
                            reason="quarantined",
                            detail=f"{recorded.event.attempts} attempts, the last: {recorded.event.last_reason}",
                        )
                        await self._record_verdict(recorded, why)
                    case _:
                        pass
            await delivery.ack()

    async def _answer(self, delivery: CommandDelivery) -> None:
        record = delivery.record
        command = record.command
        if not isinstance(command, RequestKernel) or record.stream.aggregate_id != kernel_key(command.spec):
            await delivery.dead_letter(f"{type(command).__name__} for {record.stream} is no request for a kernel")
            return
        await settle(delivery, self._request(record, command))

    async def _request(self, record: CommandRecord, command: RequestKernel) -> None:
        requested = await self._tell(KERNEL, record.stream, command, self._context_of(record))
        kernel = (await self._cache.caught_up(self._log.store, KERNEL, record.stream)).state
        if command.HasField("own"):
            if not kernel.registered:
                await self._take_in(record, command, requested)
        elif not kernel.settled:
            await self._have_forged(record, command, requested)

    async def _take_in(self, record: CommandRecord, command: RequestKernel, requested: Appended | None) -> None:
        """Register a kernel that its requester made of a blueprint of its own, if it is one and its bundle is sound."""
        own, key = command.own, record.stream.aggregate_id
        cause = requested.events[-1] if requested else None
        named = (own.blueprint.blueprint_id, own.blueprint.version)
        if named != (command.spec.blueprint_id, command.spec.blueprint_version) or not _is_the_users(own.blueprint):
            verdict: RegisterKernel | RejectKernel = RejectKernel(
                kernel_id=own.kernel_id,
                reason="not_own",
                detail=f"{named[0]} {named[1]} is no blueprint of a user's own",
            )
        else:
            await self._list(own.blueprint, cause)
            verdict = await asyncio.to_thread(self._verdict, key, own.kernel_id, "")
        context = self._context(verdict, derived_id("judge", key, own.kernel_id, record.command_id), cause)
        await self._tell(KERNEL, record.stream, verdict, context)

    async def _have_forged(self, record: CommandRecord, command: RequestKernel, requested: Appended | None) -> None:
        """Send the one compile command that a requester has for this kernel: its id says all that its content says."""
        key = record.stream.aggregate_id
        await self._log.bus.send(
            CommandRecord(
                command_id=derived_id("compile", key, record.issued_by),
                target="tezzeret",
                command=CompileBlueprint(spec=command.spec, requester=record.issued_by),
                stream=StreamName("job", key),
                issued_at_ns=self._clock.now_ns(),
                issued_by="urza",
                causation_id=requested.events[-1].event_id if requested else record.causation_id,
                correlation_id=record.correlation_id,
                run_id=record.run_id,
                traceparent=record.traceparent,
            )
        )

    async def _judge(self, recorded: Recorded, compiled: KernelCompiled) -> None:
        """Verify the whole bundle before anyone is told that it exists."""
        key = recorded.stream.aggregate_id
        verdict = await asyncio.to_thread(self._verdict, key, compiled.kernel.kernel_id, key)
        await self._record_verdict(recorded, verdict)

    def _verdict(self, key: str, kernel_id: str, job_id: str) -> RegisterKernel | RejectKernel:
        try:
            bundle = unpack(kernel_id, fetch_from(self._place.blobs), verify_with(self._place.keys))
            if bundle.manifest.kernel_key != key:
                raise BundleRefused("manifest_invalid", "the bundle is that of another kernel")
        except BundleRefused as refused:
            return RejectKernel(kernel_id=kernel_id, job_id=job_id, reason=refused.reason, detail=refused.detail)
        manifest = bundle.manifest
        served = _samples(manifest)
        return RegisterKernel(
            kernel_id=kernel_id,
            job_id=job_id,
            spec=bundle.spec,
            bytes=bundle.bytes,
            guard_digest=manifest.guard_digest,
            verdict=manifest.verdict,
            compile_ms=manifest.compile_ms,
            prewarm_p50_ms=percentile(served, 0.5) if served else None,
            prewarm_p95_ms=percentile(served, 0.95) if served else None,
            eager_fallback=manifest.eager_fallback,
            fallback_reason=manifest.fallback_reason,
        )

    async def _record_verdict(self, recorded: Recorded, verdict: RegisterKernel | RejectKernel) -> None:
        context = self._context(verdict, derived_id("judge", recorded.event_id), recorded)
        await self._tell(KERNEL, StreamName("kernel", recorded.stream.aggregate_id), verdict, context)

    async def _tell(
        self, decider: Decider[Any, Any, Any], stream: StreamName, command: Message, context: Context
    ) -> Appended | None:
        return await dispatch(self._log.store, decider, stream, command, context, cache=self._cache)

    def _context(self, command: Message, command_id: str, cause: Recorded | None = None) -> Context:
        return Context(
            command_id=command_id,
            command_type=command.DESCRIPTOR.full_name,
            recorded_at_ns=self._clock.now_ns(),
            actor="urza",
            actor_epoch=self._epoch,
            causation_id=cause.event_id if cause else "",
            correlation_id=cause.context.correlation_id if cause else "",
            run_id=cause.context.run_id if cause else "",
            traceparent=cause.context.traceparent if cause else "",
        )

    def _context_of(self, record: CommandRecord) -> Context:
        return Context(
            command_id=record.command_id,
            command_type=record.command.DESCRIPTOR.full_name,
            recorded_at_ns=self._clock.now_ns(),
            actor="urza",
            actor_epoch=self._epoch,
            causation_id=record.causation_id,
            correlation_id=record.correlation_id,
            run_id=record.run_id,
            traceparent=record.traceparent,
        )


def _is_the_users(described: BlueprintDescriptor) -> bool:
    """Whether a trainer may say this of a blueprint: what the catalogue holds is not its to change."""
    return is_own(described.version) and described.blueprint_id not in CATALOGUE


def _samples(manifest: Manifest) -> tuple[float, ...]:
    """Return the timings of the engine that the forge found to be the better one."""
    compiled = manifest.verdict == EngineVerdict.Name(EngineVerdict.ENGINE_VERDICT_COMPILED)
    return manifest.compiled_ms if compiled else manifest.eager_ms
