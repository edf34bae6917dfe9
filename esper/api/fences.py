"""Where decisions meet the model: nothing in it changes before the event that says so is acknowledged."""

from collections.abc import Coroutine, Sequence
from typing import Any, NamedTuple, TypeVar

import torch
from torch import nn

from actors.loop import BackgroundLoop
from actors.place import Place
from actors.trainer import Change, Fence, Refusal, Trainer
from esper.api.errors import KernelLost
from esper.api.growth import Growth
from esper.api.kernels import Opened, kernel_spec, open_verified
from esper.api.settings import GrowthSettings
from esper.kasmina.rules.seed import SeedCommand
from esper.leyline.v1.enums_pb2 import CullInitiator
from esper.leyline.v1.enums_pb2 import SeedLifecycleStage as Stage
from esper.leyline.v1.kernel_pb2 import KernelRejected
from esper.leyline.v1.policy_pb2 import Candidate, JudgeEpoch
from esper.leyline.v1.run_pb2 import EpochFacts, RunSummary
from esper.leyline.v1.seed_pb2 import (
    AttachKernel,
    BeginProbation,
    BeginReset,
    CompleteRamp,
    CullSeed,
    EmbargoSlot,
    RefuseKernel,
    ReopenSlot,
    SeedGerminated,
    SeedTrainingStarted,
)
from esper.leyline.v1.site_pb2 import Moment
from esper.urza.errors import BundleRefused
from eventstore.errors import StoreUnavailable

Result = TypeVar("Result")

UNANSWERED = (StoreUnavailable, TimeoutError)


class Due(NamedTuple):
    """A command that a seed's state calls for now, what it is for, and the event that caused it."""

    command: SeedCommand
    purpose: str
    cause: str = ""


class Fences:
    """The training thread's side of every decision. Waits are bounded; an unanswered one closes the step fences
    until the epoch ends, and training goes on with the model it has."""

    def __init__(
        self,
        loop: BackgroundLoop,
        trainer: Trainer,
        growth: Growth,
        place: Place,
        model: nn.Module,
        settings: GrowthSettings,
    ) -> None:
        self.closed_because = ""
        self._loop, self._trainer, self._growth = loop, trainer, growth
        self._place, self._model, self._settings = place, model, settings
        self._scheduled: list[Change] = []
        self._opened: dict[str, Opened] = {}
        self._causes: dict[str, str] = {}

    def call(self, work: Coroutine[Any, Any, Result], wait_s: float | None = None) -> Result:
        """Run *work* on the background loop and wait for it, at most `decision_wait_s` unless told otherwise."""
        return self._loop.call(work, self._settings.decision_wait_s if wait_s is None else wait_s)

    @property
    def events_written(self) -> int:
        """Events that this process has added to the log for this run."""
        return self._trainer.events_written

    def finish(self, summary: RunSummary) -> None:
        """Record the run's end.

        Raises:
            StoreUnavailable, TimeoutError: the log did not answer; the run stays resumable.
        """
        self.call(self._trainer.finish(summary))

    def schedule(self, changes: Sequence[Change]) -> None:
        """Take *changes* that the log says take effect at a later step."""
        self._scheduled.extend(changes)

    def at_step(self, at: Moment) -> None:
        """Do what is due after an optimizer step: attach kernels that came, end ramps and shadow phases, cull what
        failed."""
        self._apply_scheduled(at)
        for seed_id in self._growth.alive:
            if self.closed_because:
                return
            due = self._due(seed_id, at)
            if due is not None:
                self.change(seed_id, due, at)

    def at_epoch(self, facts: EpochFacts, offered: Sequence[Candidate], run_seed: int) -> Fence | None:
        """Record the epoch, hear Tamiyo and make her acknowledged decisions true; None if no answer came in time."""
        self.closed_because = ""
        self._apply_scheduled(facts.at)
        judge = JudgeEpoch(
            facts=facts, seed=run_seed, steps_per_epoch=facts.steps, torch_version=str(torch.__version__)
        )
        try:
            self._catch_up(facts.at)
            self._keep_house(facts.at)
            fence = self.call(self._trainer.end_epoch(facts, offered, judge))
        except UNANSWERED as error:
            self._trainer.miss(facts, str(error))
            self.closed_because = str(error)
            return None
        for change in fence.changes:
            self._receive(change, facts.at)
        return fence

    def change(self, seed_id: str, due: Due, at: Moment, actor: str = "kasmina") -> Change | Refusal | None:
        """Ask the seed's rules for a change and make it true once acknowledged; None if no answer came in time."""
        try:
            outcome = self.call(
                self._trainer.change(seed_id, due.command, due.purpose, causation=due.cause, actor=actor)
            )
        except UNANSWERED as error:
            self.closed_because = str(error)
            return None
        if isinstance(outcome, Change):
            self._receive(outcome, at)
        return outcome

    def _catch_up(self, at: Moment) -> None:
        """Make changes true that were acknowledged after their own fence had passed."""
        waiting = {change.command_id for change in self._scheduled}
        for change in self.call(self._trainer.late_changes()):
            if change.command_id not in waiting:
                self._receive(change, at)

    def _receive(self, change: Change, at: Moment) -> None:
        if change.apply_at > at.step:
            if change.command_id not in {waiting.command_id for waiting in self._scheduled}:
                self._scheduled.append(change)
            return
        if change.apply_at < at.step:
            self.call(self._trainer.defer(change, at, "the acknowledgement came after its fence"))
        self._apply(change)

    def _apply_scheduled(self, at: Moment) -> None:
        due = [change for change in self._scheduled if change.apply_at <= at.step]
        self._scheduled = [change for change in self._scheduled if change.apply_at > at.step]
        for change in due:
            self._apply(change)

    def _apply(self, change: Change) -> None:
        seed_id, seedling = change.seed_id, None
        if any(isinstance(event, SeedTrainingStarted) for event in change.messages):
            seed = self._growth.seeds[seed_id]
            if seed_id not in self._opened:
                raise KernelLost(seed_id, seed.kernel_id or seed.kernel_key, "it was not verified in this process")
            seedling = self._growth.seedling(seed_id, self._opened.pop(seed_id).module)
        self._growth.apply(change, seedling)
        self._trainer.applied(change)
        for recorded in change.events:
            if isinstance(recorded.event, SeedGerminated):
                self._causes[seed_id] = recorded.event_id
                self._ask_for_kernel(seed_id)

    def _ask_for_kernel(self, seed_id: str) -> bool:
        """Ask early, so that the forge works while the host trains; asked again before waiting."""
        seed = self._growth.seeds[seed_id]
        cause = self._causes.get(seed_id, "")
        try:
            self.call(self._trainer.request_kernel(seed_id, kernel_spec(seed), seed.kernel_key, cause))
        except UNANSWERED as error:
            self.closed_because = str(error)
        except BundleRefused:
            return True
        return not self.closed_because

    def _due(self, seed_id: str, at: Moment) -> Due | None:
        seed, slot = self._growth.seeds[seed_id], self._growth.slots[seed_id]
        phase = f"g{seed.generation}/{seed.since_step}"
        if slot.failed:
            initiator = CullInitiator.CULL_INITIATOR_RUNTIME
            return Due(CullSeed(at=at, reason=slot.failed, initiator=initiator), f"failed/{phase}")
        if seed.stage == Stage.SEED_STAGE_GERMINATED and at.step > seed.since_step:
            return self._kernel(seed_id, at)
        if seed.stage == Stage.SEED_STAGE_BLENDING and seed.ramp is not None and not seed.ramp_completed:
            return Due(CompleteRamp(at=at), f"ramp/{phase}") if seed.ramp.completed(at.step) else None
        if seed.stage == Stage.SEED_STAGE_SHADOWING and at.step > seed.since_step:
            evidence = self._growth.probation_evidence(seed_id)
            if evidence.get("shadow_probes", 0.0) >= self._settings.gates.min_shadow_probes:
                return Due(BeginProbation(at=at, evidence=evidence), f"probation/{phase}")
        return None

    def _kernel(self, seed_id: str, at: Moment) -> Due | None:
        """Wait for the kernel of a germinated seed and verify it: the command that attaches or refuses it."""
        seed = self._growth.seeds[seed_id]
        purpose = f"kernel/g{seed.generation}"
        if not self._ask_for_kernel(seed_id):
            return None
        wait_s = self._settings.kernel_wait_s
        try:
            answer, cause = self.call(self._trainer.await_kernel(seed.kernel_key), wait_s)
        except StoreUnavailable as error:
            self.closed_because = str(error)
            return None
        except TimeoutError:
            detail = f"no kernel within {wait_s} s: is the forge running? see `esper status`"
            return Due(RefuseKernel(at=at, reason="timeout", detail=detail), purpose)
        if isinstance(answer, KernelRejected):
            refusal = RefuseKernel(at=at, kernel_id=answer.kernel_id, reason="rejected", detail=answer.reason)
            return Due(refusal, purpose, cause)
        try:
            opened = open_verified(self._place, self._model, seed, answer.kernel_id)
        except BundleRefused as refused:
            refusal = RefuseKernel(at=at, kernel_id=answer.kernel_id, reason=refused.reason, detail=refused.detail)
            return Due(refusal, purpose, cause)
        self._opened[seed_id] = opened
        attach = AttachKernel(
            at=at,
            kernel_id=answer.kernel_id,
            weights_sha256=opened.weights_sha256,
            parameter_count=opened.parameter_count,
            evidence=opened.evidence,
        )
        return Due(attach, purpose, cause)

    def _keep_house(self, at: Moment) -> None:
        """Move culled slots one step towards being free again."""
        for seed_id, seed in self._growth.seeds.items():
            phase = f"g{seed.generation}/{seed.since_step}"
            if seed.stage == Stage.SEED_STAGE_CULLED and at.step > seed.since_step:
                until = at.epoch + self._settings.embargo_epochs
                self.change(seed_id, Due(EmbargoSlot(at=at, until_epoch=until), f"embargo/{phase}"), at)
            elif seed.stage == Stage.SEED_STAGE_EMBARGOED and at.epoch >= seed.embargo_until_epoch:
                self.change(seed_id, Due(BeginReset(at=at), f"reset/{phase}"), at)
            elif seed.stage == Stage.SEED_STAGE_RESETTING and at.step > seed.since_step:
                evidence = self._growth.reset_evidence(seed_id)
                self.change(seed_id, Due(ReopenSlot(at=at, evidence=evidence), f"reopen/{phase}"), at)
