"""Where decisions meet the model: nothing in it changes before the event that says so is acknowledged."""

from collections.abc import Callable, Coroutine, Sequence
from time import perf_counter
from typing import Any, NamedTuple, TypeVar

import torch
from torch import nn

from actors.changes import Change, Instant
from actors.loop import BackgroundLoop
from actors.place import Place
from actors.timeline import Rollback
from actors.tracing import span
from actors.trainer import Answer, Fence, Trainer
from esper.api.brake import Brake
from esper.api.errors import KernelLost
from esper.api.growth import Growth
from esper.api.kernels import Opened, inspected, kernel_spec, open_verified, own_kernel
from esper.api.memory import Memory
from esper.api.prefetching import Prefetching
from esper.api.rollbacks import Rollbacks
from esper.api.settings import GrowthSettings
from esper.api.tally import Tally
from esper.kasmina.grafting import Seedling
from esper.kasmina.rules.seed import Seed, SeedCommand
from esper.kasmina.transit import Transit
from esper.leyline.v1.enums_pb2 import CullInitiator, RollbackMode, RollbackTier
from esper.leyline.v1.enums_pb2 import SeedLifecycleStage as Stage
from esper.leyline.v1.kernel_pb2 import KernelRejected, KernelSpec, OwnKernel
from esper.leyline.v1.policy_pb2 import Candidate, JudgeEpoch
from esper.leyline.v1.run_pb2 import (
    Checkpoint,
    EpochFacts,
    EvictKernels,
    FreezeGrowth,
    HaltRun,
    RunSummary,
    ThawGrowth,
)
from esper.leyline.v1.seed_pb2 import (
    AttachKernel,
    BeginProbation,
    BeginReset,
    CompleteRamp,
    CullSeed,
    EmbargoSlot,
    KernelAttached,
    RefuseKernel,
    ReopenSlot,
    SeedGerminated,
)
from esper.leyline.v1.site_pb2 import Moment
from esper.urza.cache import Eviction
from esper.urza.errors import BundleRefused
from eventstore.errors import LogFull, StoreUnavailable

Result = TypeVar("Result")

# Nothing is known to have been written: training goes on with the model it has, and the log is tried again later.
UNANSWERED = (StoreUnavailable, LogFull, TimeoutError)
LATE = "the acknowledgement came after its fence"


class Due(NamedTuple):
    """A command that a seed's state calls for now, what it is for, and the event that caused it, with its trace."""

    command: SeedCommand
    purpose: str
    cause: str = ""
    traceparent: str = ""


class Fences:
    """The training thread's side of every decision. Waits are bounded; an unanswered one closes the step fences
    until the epoch ends, and training goes on with the model it has.

    Every change comes to the model on one path: it is recorded, it waits in the trainer's backlog, and a fence shows
    it in the order of its seed's stream.
    """

    def __init__(
        self,
        loop: BackgroundLoop,
        trainer: Trainer,
        growth: Growth,
        place: Place,
        model: nn.Module,
        settings: GrowthSettings,
        rollbacks: Rollbacks,
        brake: Brake,
    ) -> None:
        self.closed_because = ""
        self.brake, self.tally = brake, Tally()
        self._loop, self._trainer, self._growth = loop, trainer, growth
        self._place, self._model, self._settings = place, model, settings
        self._rollbacks = rollbacks
        self._opened: dict[str, tuple[str, Transit]] = {}
        self._made: dict[str, OwnKernel | None] = {}
        self._memory = Memory(growth, settings.kernels)
        self._evicted: list[Eviction] = []
        self._kernels = Prefetching(loop, trainer.kernels, place, growth.kernels, settings.decision_wait_s)

    def call(self, work: Coroutine[Any, Any, Result], wait_s: float | None = None) -> Result:
        """Run *work* on the background loop and wait for it, at most `decision_wait_s` unless told otherwise."""
        return self._loop.call(work, self._settings.decision_wait_s if wait_s is None else wait_s)

    @property
    def events_written(self) -> int:
        """Events that this process has added to the log for this run."""
        return self._trainer.events_written

    @property
    def waited_s(self) -> float:
        """Seconds that training has waited for the log and for kernels."""
        return self._loop.waited_s

    @property
    def waiting(self) -> int:
        """Facts that wait in the outbox for the log."""
        return self._trainer.handover.depth

    def finish(self, summary: RunSummary) -> bool:
        """Hand over the run's end. False: there was no room for it, and the run has to be resumed to end it.

        If the log does not answer, `closed_because` says so, and what waits is handed over when the run is resumed.
        """
        kept = self._trainer.handover.put_end(summary)
        if not self.closed_because:
            self._try(lambda: self.call(self._trainer.handover.drain()))
        return kept

    def show_due(self, at: Moment, *, until: int | None = None) -> None:
        """Make true in the model what takes effect at *at* exactly, as a decision or a record of the past has it.

        What was recorded after position *until* has to wait.
        """
        now = Instant.of(at)
        rollback = self._trainer.timeline.due(now)
        if rollback is not None and until is not None and rollback.position > until:
            rollback = None
        last = until if rollback is None else rollback.position
        for change in self._trainer.backlog.due(now):
            if last is None or change.events[0].position <= last:
                self._show(change)
        if rollback is not None and self._try(lambda: self._go_back(rollback, at, replayed=True)):
            self.show_due(at, until=until)

    def roll_back(self, checkpoint: Checkpoint, mode: RollbackMode, reason: str, at: Moment) -> Rollback | None:
        """Record that the run goes back to *checkpoint*, and go; None if no answer came in time.

        Raises:
            KernelLost, CheckpointBroken, BlobMissing, BlobCorrupt: a part is damaged; nothing has happened.
        """
        return self._try(lambda: self._rolled_back(checkpoint, mode, reason, at))

    def _rolled_back(self, checkpoint: Checkpoint, mode: RollbackMode, reason: str, at: Moment) -> Rollback:
        self._show_overdue(at)
        rollback = self._rollbacks.decide(checkpoint, mode, reason, at)
        if rollback.effective < Instant.of(at):
            rollback = self.call(self._trainer.timeline.defer(rollback, at, LATE))
        self._go_back(rollback, at, replayed=False)
        return rollback

    def _go_back(self, rollback: Rollback, at: Moment, *, replayed: bool) -> bool:
        began = perf_counter()
        if self._rollbacks.apply(rollback, at, replayed=replayed) == RollbackTier.ROLLBACK_TIER_FAST:
            self.tally.rollbacks_fast += 1
        else:
            self.tally.rollbacks_full += 1
        self.tally.restore_s = perf_counter() - began
        self._opened.clear()
        self._kernels.cancel_all()
        return True

    def at_step(self, at: Moment) -> None:
        """Do what is due after an optimizer step: attach kernels that came, end ramps and shadow phases, cull what
        failed."""
        before = self._rollbacks.shown
        self.show_due(at)
        if self._rollbacks.shown != before:
            # What the seeds' state called for at this step was answered before the rollback was decided.
            return
        self._record_freeze(at)
        self._record_evictions(at)
        for seed_id in self._growth.alive:
            if self.closed_because:
                return
            if self._trainer.settled(seed_id, at) or (self.brake.pulled and not self._growth.slots[seed_id].failed):
                continue
            due = self._due(seed_id, at)
            if due is not None:
                self.change(seed_id, due, at)

    def catch_up(self, at: Moment) -> None:
        """Open the fences again, hand over what waits, and make changes true that were recorded although their own
        fence passed without an answer. Call it before the epoch is measured: what is measured is what the log says."""
        self.closed_because = ""
        self._try(lambda: self.call(self._trainer.handover.drain()))
        if not self.closed_because:
            self._try(lambda: self._show_overdue(at))
        self._record_freeze(at)
        self._record_evictions(at)

    def _record_freeze(self, at: Moment) -> None:
        """Let the event follow the brake. It was late if the log did not answer at the first fence after it."""
        pulled = self.brake.pulled
        if pulled is None or pulled.position is not None or self._trainer.repeats(at):
            return
        position = None
        if not self.closed_because:
            command = FreezeGrowth(at=at, reason=pulled.reason, raised_at_ns=pulled.raised_at_ns, late=self.brake.late)
            position = self._try(lambda: self.call(self._trainer.freeze(command)))
        if position is None:
            self.brake.late = True
        else:
            self.brake.record(pulled, position)

    def release_kernels(self, at: Moment) -> int:
        """Let go of every kernel at hand that no seed grows from, and record it; return the bytes."""
        freed = self._growth.kernels.clean_up()
        self._record_evictions(at)
        return freed

    def _record_evictions(self, at: Moment) -> None:
        """Let events follow what was evicted; what is trained a second time was recorded the first."""
        if self._trainer.repeats(at):
            self._growth.kernels.evictions()
            return
        if not self.closed_because:
            self._evicted += self._growth.kernels.evictions()
        while self._evicted and not self.closed_because:
            gone = self._evicted[0]
            command = EvictKernels(
                at=at, kernel_ids=gone.kernel_ids, bytes=gone.bytes, reason=gone.reason, kept_bytes=gone.kept_bytes
            )
            self._try(lambda command=command: self.call(self._trainer.evict(command)))
            if not self.closed_because:
                del self._evicted[0]

    def halt(self, reason: str, at: Moment) -> bool:
        """Record that the run is trained no further; False if the log did not answer."""
        command = HaltRun(at=at, reason=reason, timeline=self._rollbacks.shown)
        self._try(lambda: self.call(self._trainer.halt(command)))
        return not self.closed_because

    def thaw(self, reason: str, at: Moment) -> bool:
        """Record that growth goes on, and let it; False if the log did not answer, and it stays frozen."""
        self._record_freeze(at)
        pulled = self.brake.pulled
        if pulled is None:
            return True
        if pulled.position is None and self._trainer.repeats(at):
            # What the log holds of this moment is beyond both; neither is told again.
            self.brake.release(0)
            return True
        if pulled.position is None or self.closed_because:
            return False
        position = self._try(lambda: self.call(self._trainer.thaw(ThawGrowth(at=at, reason=reason))))
        if position is not None:
            self.brake.release(position)
        return position is not None

    def at_epoch(
        self, facts: EpochFacts, offered: Sequence[Candidate], run_seed: int, until: int | None = None
    ) -> Fence | None:
        """Record the epoch, hear Tamiyo and make her acknowledged decisions true; None if no answer came in time.

        All that is recorded here is of one trace. What was recorded after position *until* has to wait.
        """
        with span("fence", attributes={"esper.epoch": str(facts.at.epoch), "esper.step": str(facts.at.step)}):
            return self._at_epoch(facts, offered, run_seed, until)

    def _at_epoch(
        self, facts: EpochFacts, offered: Sequence[Candidate], run_seed: int, until: int | None
    ) -> Fence | None:
        if self._trainer.skips(facts.at.epoch):
            self.show_due(facts.at, until=until)
            return Fence(facts, recorded_before=False, decisions=())
        judge = JudgeEpoch(
            facts=facts,
            seed=run_seed,
            steps_per_epoch=facts.steps,
            torch_version=str(torch.__version__),
            after_blending=self._growth.after_blending,
        )
        self.show_due(facts.at, until=until)
        self._keep_house(facts.at)
        handover, fence = self._trainer.handover, None
        # In the outbox first: whatever happens to this process or to the log from here on, the epoch is not lost.
        kept = handover.put_epoch(facts)
        if not kept:
            told = (self.closed_because, "the outbox is full: this epoch is counted, its facts are lost")
            self.closed_because = "; ".join(why for why in told if why)
        frozen = None if self._trainer.holds(facts.at) else self.brake.pulled
        if kept and frozen is not None:
            handover.put_miss(facts.at, f"growth is frozen: {frozen.reason}")
            self._trainer.misses(facts.at.epoch)
        if not self.closed_because:
            fence = self._try(lambda: self.call(self._trainer.end_epoch(facts, offered, judge)))
        if fence is None:
            if kept and frozen is None:
                handover.put_miss(facts.at, self.closed_because)
            self._loop.spawn(handover.sync())
            return None
        self.show_due(facts.at, until=until)
        return fence

    def change(self, seed_id: str, due: Due, at: Moment, actor: str = "kasmina") -> Answer | None:
        """Ask the seed's rules for a change and make it true once acknowledged.

        None if no answer came in time, or if growth is frozen: then only a cull goes through.
        """
        if self.brake.pulled and not isinstance(due.command, CullSeed) and not self._trainer.settled(seed_id, at):
            return None
        with span("change", traceparent=due.traceparent, attributes={"esper.seed": seed_id}):
            return self._try(lambda: self._asked(seed_id, due, at, actor))

    def repeats(self, at: Moment) -> bool:
        """Whether the log already reaches beyond *at*: the run re-executes what an earlier process recorded."""
        return self._trainer.repeats(at)

    def _try(self, work: Callable[[], Result]) -> Result | None:
        try:
            return work()
        except UNANSWERED as error:
            self.closed_because = str(error)
            self.tally.unanswered += 1
            return None

    def _asked(self, seed_id: str, due: Due, at: Moment, actor: str) -> Answer:
        self._show_overdue(at)
        answer = self.call(self._trainer.change(seed_id, due.command, due.purpose, causation=due.cause, actor=actor))
        self.show_due(at)
        return answer

    def _show_overdue(self, at: Moment) -> None:
        self.call(self._trainer.look_again())
        overdue = self._trainer.timeline.overdue(Instant.of(at))
        if overdue is not None:
            self._go_back(self.call(self._trainer.timeline.defer(overdue, at, LATE)), at, replayed=False)
        for change in self._trainer.backlog.overdue(Instant.of(at)):
            if change.moves and change.effective < Instant.of(at):
                self.call(self._trainer.defer(change, at, LATE))
            self._show(change)

    def _show(self, change: Change) -> None:
        self._growth.apply(change, self._seedling(change))
        self._trainer.backlog.show(change)
        if any(isinstance(event, SeedGerminated) for event in change.messages):
            self.tally.kernels_asked += 1
            self._order_kernel(change.seed_id)

    def _seedling(self, change: Change) -> Seedling | None:
        attached = next((event for event in change.messages if isinstance(event, KernelAttached)), None)
        if attached is None:
            return None
        seed_id, kernel_id = change.seed_id, attached.kernel_id
        known, transit = self._opened.pop(seed_id, ("", None))
        if transit is None or known != kernel_id:
            try:
                opened = self._open(self._growth.seeds[seed_id], kernel_id)
            except BundleRefused as refused:
                raise KernelLost(seed_id, kernel_id, str(refused)) from refused
            return self._growth.seedling(seed_id, opened.module)
        return self._growth.seedling(seed_id, transit.landed())

    def _order_kernel(self, seed_id: str) -> None:
        """Ask early, so that the forge works, and the kernel is read and verified, while the host trains."""
        try:
            self._order(seed_id)
        except BundleRefused:
            # Refused with its reason when the kernel is due; until then there is nothing to ask for.
            return

    def _order(self, seed_id: str) -> None:
        seed = self._growth.seeds[seed_id]
        self._kernels.order(seed_id, seed, self._own_kernel(kernel_spec(seed), seed.kernel_key))

    def _open(self, seed: Seed, kernel_id: str) -> Opened:
        return open_verified(self._place, self._model, seed, kernel_id, self._growth.kernels)

    def _own_kernel(self, spec: KernelSpec, key: str) -> OwnKernel | None:
        if key not in self._made:
            self._made[key] = own_kernel(self._place, spec)
        return self._made[key]

    def _due(self, seed_id: str, at: Moment) -> Due | None:
        seed, slot = self._growth.seeds[seed_id], self._growth.slots[seed_id]
        phase = f"g{seed.generation}/{seed.since_step}"
        if slot.failed:
            initiator = CullInitiator.CULL_INITIATOR_RUNTIME
            return Due(CullSeed(at=at, reason=slot.failed, initiator=initiator), f"failed/{phase}")
        if seed.stage == Stage.SEED_STAGE_GERMINATED and at.step > seed.since_step:
            began = perf_counter()
            due = self._kernel(seed_id, at)
            self.tally.waited_for_kernel(perf_counter() - began)
            return due
        if seed.stage == Stage.SEED_STAGE_BLENDING and seed.ramp is not None and not seed.alpha_holds:
            return Due(CompleteRamp(at=at), f"ramp/{phase}") if seed.ramp.completed(at.step) else None
        if seed.stage == Stage.SEED_STAGE_SHADOWING and at.step > seed.since_step:
            evidence = self._growth.probation_evidence(seed_id)
            if evidence.get("shadow_probes", 0.0) >= self._settings.gates.min_shadow_probes:
                return Due(BeginProbation(at=at, evidence=evidence), f"probation/{phase}")
        return None

    def _kernel(self, seed_id: str, at: Moment) -> Due | None:
        """Wait for the kernel of a germinated seed and verify it: the command that attaches or refuses it."""
        seed = self._growth.seeds[seed_id]
        purpose, kernel_id, cause, trace = f"kernel/g{seed.generation}", "", "", ""
        try:
            self._order(seed_id)
            found = self._kernels.fetched(seed_id, self._settings.kernel_wait_s)
            kernel_id, cause, trace = found.answer.kernel_id, found.told.event_id, found.told.context.traceparent
            if isinstance(found.answer, KernelRejected) or found.opened is None:
                why = found.answer.reason if isinstance(found.answer, KernelRejected) else ""
                refusal = RefuseKernel(at=at, kernel_id=kernel_id, reason="rejected", detail=why)
                return Due(refusal, purpose, cause, trace)
            if scarce := self._memory.denies(seed_id):
                refusal = RefuseKernel(at=at, kernel_id=kernel_id, reason="memory_denied", detail=scarce)
                return Due(refusal, purpose, cause, trace)
            opened = inspected(self._model, seed, found.opened, self._growth.kernels)
        except (StoreUnavailable, LogFull) as error:
            self.closed_because = str(error)
            return None
        except TimeoutError:
            detail = f"no kernel within {self._settings.kernel_wait_s} s: is the forge running? see `esper status`"
            return Due(RefuseKernel(at=at, reason="timeout", detail=detail), purpose)
        except BundleRefused as refused:
            refusal = RefuseKernel(at=at, kernel_id=kernel_id, reason=refused.reason, detail=refused.detail)
            return Due(refusal, purpose, cause, trace)
        self._opened[seed_id] = kernel_id, Transit(opened.module, self._growth.slots[seed_id].device)
        attach = AttachKernel(
            at=at,
            kernel_id=kernel_id,
            weights_sha256=opened.weights_sha256,
            parameter_count=opened.parameter_count,
            evidence=opened.evidence,
        )
        return Due(attach, purpose, cause, trace)

    def _keep_house(self, at: Moment) -> None:
        """Move culled slots one step towards being free again."""
        for seed_id, seed in self._growth.seeds.items():
            if self.closed_because:
                return
            due = None if self._trainer.settled(seed_id, at) else self._vacating(seed_id, seed, at)
            if due is not None:
                self.change(seed_id, due, at)

    def _vacating(self, seed_id: str, seed: Seed, at: Moment) -> Due | None:
        phase = f"g{seed.generation}/{seed.since_step}"
        if seed.stage == Stage.SEED_STAGE_CULLED and at.step > seed.since_step:
            until = at.epoch + self._settings.embargo_epochs
            return Due(EmbargoSlot(at=at, until_epoch=until), f"embargo/{phase}")
        if seed.stage == Stage.SEED_STAGE_EMBARGOED and at.epoch >= seed.embargo_until_epoch:
            return Due(BeginReset(at=at), f"reset/{phase}")
        if seed.stage == Stage.SEED_STAGE_RESETTING and at.step > seed.since_step:
            # By its epoch: a slot in which something was left is looked at again when the next one ends.
            return Due(ReopenSlot(at=at, evidence=self._growth.reset_evidence(seed_id)), f"reopen/{phase}/{at.epoch}")
        return None
