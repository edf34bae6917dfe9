"""One training run, as the user's loop sees it."""

import math
import statistics
from collections.abc import Callable, Mapping
from time import perf_counter
from types import TracebackType
from typing import Literal

import torch
from torch import Tensor, nn

from actors.trainer import Fence
from esper.api.checkpoints import Checkpoints, Taken
from esper.api.errors import NothingTrained, RunDiverged, SessionClosed
from esper.api.evaluation import Evaluation, Score
from esper.api.fences import UNANSWERED, Fences
from esper.api.growth import Growth
from esper.api.measuring import EpochTold, Measuring
from esper.api.parallel.crew import Crew, Nobody
from esper.api.recovery import MODES, Recovery
from esper.api.retraining import Retraining
from esper.api.settings import GrowthSettings
from esper.api.slots import Outcome, SlotHandle
from esper.karn.candidates import candidates
from esper.leyline.v1.enums_pb2 import SeedLifecycleStage as Stage
from esper.leyline.v1.run_pb2 import Checkpoint, EpochFacts, KeptSeed, RunFacts, RunSummary
from esper.leyline.v1.site_pb2 import Moment, SitePressure
from esper.tamiyo.rules.germination import worth_a_look
from esper.tolaria.checkpoint import model_sha256

Say = Callable[[str], None]

# The controller of a run whose slots are driven by hand.
NOBODY = "none"


class Session:
    """A training run between `attach` and the end of its `with` block.

    Call `step` once after every optimizer step and `end_epoch` once per epoch, from the thread that trains. What a
    session decides is written to the log and acknowledged before the model changes.
    """

    def __init__(
        self,
        *,
        run_id: str,
        model: nn.Module,
        fences: Fences,
        growth: Growth,
        evaluation: Evaluation,
        checkpoints: Checkpoints,
        recovery: Recovery,
        settings: GrowthSettings,
        facts: RunFacts,
        last: EpochFacts,
        measuring: Measuring,
        close: Callable[[], None],
        say: Say,
        retraining: Retraining | None = None,
        crew: Crew | None = None,
    ) -> None:
        self._crew = crew or Nobody()
        self.run_id = run_id
        self.epoch = last.at.epoch
        self.global_step = last.at.step
        self.facts = last
        self.decisions: tuple[str, ...] = ()
        self.summary: RunSummary | None = None
        self.parameters_before = facts.host_parameters
        self._model, self._fences, self._growth = model, fences, growth
        self._evaluation, self._checkpoints, self._settings = evaluation, checkpoints, settings
        self._measuring = measuring
        self._run_seed, self._steps_before, self._close, self._say = facts.seed, last.steps, close, say
        self._retraining = retraining
        self._recovery = recovery
        self._open = True
        self._observing, self._controlled = False, facts.controller != NOBODY
        # The seeds that the newest checkpoint holds as kept: what was kept since is worth another.
        self._kept_then = growth.fossilized()
        self._steps = 0
        self._losses: list[Tensor] = []
        self._intervals: list[float] = []
        self._in_esper: list[float] = []
        self._totals = [0.0, 0.0]
        self._returned_at: float | None = None
        self.slots: Mapping[str, SlotHandle] = {
            slot.site.label: SlotHandle(seed_id, slot, growth, fences, self._moment_by_hand)
            for seed_id, slot in growth.slots.items()
        }

    @property
    def events_written(self) -> int:
        """Events that this process has added to the log for this run."""
        return self._fences.events_written

    @property
    def waited_s(self) -> float:
        """Seconds that training has waited for the log and for kernels since the session began."""
        return self._fences.waited_s

    @property
    def stages(self) -> dict[str, str]:
        """The stage of every slot by its label: "dormant", "training", ..."""
        return {
            self._growth.slots[seed_id].site.label: Stage.Name(seed.stage).removeprefix("SEED_STAGE_").lower()
            for seed_id, seed in self._growth.seeds.items()
        }

    @property
    def outbox_depth(self) -> int:
        """Facts of this run that wait for the log: 0 while it answers."""
        return self._fences.waiting

    def moment(self) -> Moment:
        """Return the run's clocks: optimizer steps done and epochs ended."""
        return Moment(step=self.global_step, epoch=self.epoch)

    def _open_moment(self) -> Moment:
        if not self._open:
            raise SessionClosed
        return self.moment()

    def _moment_by_hand(self) -> Moment:
        self._crew.demand_nobody("driving a slot by hand")
        return self._open_moment()

    def observe(self, *inputs: object) -> None:
        """Show every dormant site one batch, so that a seed can be germinated by hand.

        Runs the model once; random streams, buffers, modes and gradients stay as they are, and your own hooks do not
        run. Needed only before the first step: the first training pass shows every site, too.

        Raises:
            SessionClosed: outside the `with` block.
            SiteUnusable: a site that was named exactly cannot carry a seed.
        """
        self._open_moment()
        self._growth.observe_batch(*inputs)

    def step(self, loss: Tensor, batch: object = None) -> None:
        """Note one optimizer step and let the growing seeds learn from it. *loss* is the batch's mean loss.

        *batch* is what your `objective` takes, if you gave `attach` one; else it is not looked at.

        Never waits for the network but for a decision that is due at this very step, at most `decision_wait_s`
        (or `kernel_wait_s`, once per germinated seed).

        Raises:
            SessionClosed: outside the `with` block.
            BatchMissing: there is an objective, and no *batch*.
            HostUnseen, CompiledHost, SiteUnusable: at the first step, no site or not every site can see the training.
        """
        self._open_moment()
        objective = self._growth.objective_on(batch)
        for line in self._growth.end_glance():
            self._say(line)
        began = perf_counter()
        noted = loss.detach()
        self._losses.append(noted)
        self._steps += 1
        self.global_step += 1
        panic = self._recovery.note(noted, comparable=not self._growth.shadowing)
        self._growth.step(self.global_step, objective)
        self._observe_near_the_epochs_end()
        before_fence = perf_counter()
        self._fences.at_step(self.moment())
        self._recovery.react(panic, self.moment())
        self._recovery.heed_culls(self._growth.culled)
        self._forget_what_was_left_behind()
        self._crew.after_step()
        ended = perf_counter()
        # A fence may wait seconds for a kernel to be compiled: that is a pause, not a part of every step.
        interval = None if self._returned_at is None else before_fence - self._returned_at
        if interval is not None:
            self._intervals.append(interval)
        if self._measuring.listens:
            self._measuring.step(
                self.moment(),
                noted,
                latency_s=interval,
                overhead_s=before_fence - began,
                fence_s=ended - before_fence,
            )
        self._in_esper.append(before_fence - began + perf_counter() - ended)
        self._returned_at = ended

    def end_epoch(self) -> EpochFacts:
        """End an epoch: evaluate, record, let Tamiyo decide, make her acknowledged decisions true, checkpoint.

        Returns what was recorded. If the log does not answer in time, training goes on with the model as it is and
        the epoch is recorded at the next one's end.

        Raises:
            SessionClosed: outside the `with` block.
            NothingTrained: no step was noted since the last epoch's end.
            EvaluationInvalid: `evaluate` returned something else than numbers.
            RunDiverged: a resumed run repeats an epoch and finds other numbers than were recorded.
            RetrainDiverged: the same, of a run that is trained again to compare it.
            RanksDiffer: several processes train, and their models are not alike.
        """
        moment = self._open_moment()
        if not self._steps:
            raise NothingTrained(moment.epoch + 1)
        began = perf_counter()
        self._fences.catch_up(moment)
        self._recovery.look(moment)
        self._forget_what_was_left_behind()
        facts = self._measured()
        measured = perf_counter()
        self.epoch = facts.at.epoch
        offered = [
            candidate
            for found in facts.pressures
            for candidate in candidates(self._growth.slots[found.seed_id].site, found.shape)
        ]
        until = None if self._retraining is None else self._retraining.checkpointed(facts.at.epoch)
        fence = self._fences.at_epoch(facts, offered, self._run_seed, until)
        self._recovery.heed_culls(self._growth.culled)
        if fence is None:
            self._say(
                f"epoch {facts.at.epoch}: the log did not answer ({self._fences.closed_because}); training goes on, "
                f"{self.outbox_depth} facts wait for it in the outbox"
            )
        elif self._retraining is not None:
            self._hold_what_is_gone_back_to(self._retraining, self._retraining.epoch_ended(facts, self._model))
        else:
            _refuse_divergence(facts, fence)
            self._checkpoint_if_due()
        self._forget_what_was_left_behind()
        self.facts = facts if fence is None else fence.facts
        self._tell_of_the_epoch(facts, recorded=fence is not None, end_s=perf_counter() - began, since=measured)
        self.decisions = () if fence is None else tuple(decision.reason for decision in fence.decisions)
        self._growth.new_epoch()
        self._crew.after_epoch(self.facts, self.decisions)
        self._begin_epoch(facts.steps)
        return self.facts

    def _tell_of_the_epoch(self, facts: EpochFacts, *, recorded: bool, end_s: float, since: float) -> None:
        tally = self._fences.tally
        tally.unrecorded_epochs += not recorded
        if self._measuring.listens:
            snapshots, snapshot_bytes = self._recovery.held
            told = EpochTold(
                recorded=recorded,
                end_s=end_s,
                fence_s=perf_counter() - since,
                learning_rate=self._growth.host_learning_rate,
                outbox_depth=self.outbox_depth,
                frozen=self._fences.brake.pulled is not None,
                seeds_active=len(self._growth.alive),
                seeds_germinated=self._growth.germinated,
                seeds_culled=self._growth.culled,
                snapshots=snapshots,
                snapshot_bytes=snapshot_bytes,
                tally=tally,
            )
            self._measuring.epoch(facts, told)
        tally.new_epoch()

    def _begin_epoch(self, steps_before: int) -> None:
        self._steps_before = steps_before
        self._totals[0] += sum(self._in_esper[1:])
        self._totals[1] += sum(self._intervals)
        self._losses, self._intervals, self._in_esper, self._returned_at = [], [], [], None
        self._steps = 0

    def rollback(
        self, to: str | int | None = None, *, mode: Literal["restore", "stabilise"] = "restore", reason: str = ""
    ) -> Outcome:
        """Go back to a sound checkpoint: *to* is its epoch, its id or the beginning of one; None is the newest.

        "restore" brings everything back as it was: weights, moments, seeds, random streams. "stabilise" brings back
        the host and the seeds that were kept, culls those that still grow, and clears the optimizer's moments. Either
        puts back the learning rate that the optimizer had then. The run's clocks go on: what you train now has steps
        and epochs of its own, and nothing is deleted from the log.

        Raises:
            SessionClosed: outside the `with` block.
            NothingToGoBackTo: no blessed checkpoint is called so.
            KernelLost, CheckpointBroken, BlobMissing, BlobCorrupt: a part is damaged; nothing has happened.
        """
        self._crew.demand_nobody("a rollback")
        outcome = self._recovery.by_hand(to, MODES[mode], reason or "by hand", self._open_moment())
        self._forget_what_was_left_behind()
        return outcome

    def freeze(self, reason: str) -> None:
        """Let nothing grow from now on, until `thaw`: no seed germinates, blends, is watched or is kept. Any thread.

        It takes effect in this process at once, whether or not the log answers; the event follows at the next step's
        fence. Training goes on, a seed that is learning or blending goes on with that, and culls are still made. It
        holds in a process that resumes the run, too.
        """
        self._fences.brake.pull(reason)

    def thaw(self, reason: str = "asked for by hand") -> bool:
        """Let growth go on. Call it from the thread that trains; False: the log did not answer, and it stays frozen.

        Raises:
            SessionClosed: outside the `with` block.
        """
        return self._fences.thaw(reason, self._open_moment())

    def release_kernels(self) -> int:
        """Let go of every verified kernel at hand that no seed grows from, for want of memory; return the bytes.

        Nothing is lost: a kernel that is wanted again is read from the library and verified again.

        Raises:
            SessionClosed: outside the `with` block.
        """
        return self._fences.release_kernels(self._open_moment())

    def _forget_what_was_left_behind(self) -> None:
        """After a rollback, losses and observations of what was abandoned count no more; the steps were made."""
        if self._recovery.noticed_rollback():
            self._losses, self._observing = [], False

    def _observe_near_the_epochs_end(self) -> None:
        """Open the windows in which growth pressure is measured; the first epoch has none, as its end is unknown."""
        opening = max(0, self._steps_before - self._settings.pressure_window_steps)
        if not self._steps_before or self._observing or self._steps <= opening:
            return
        policy, live = self._settings.policy, len(self._growth.alive)
        if self._controlled and worth_a_look(policy, self.epoch + 1, live, self.facts):
            self._observing = True
            self._growth.open_windows(self._settings.pressure_window_samples)

    def _measured(self) -> EpochFacts:
        pressures: list[SitePressure] = self._growth.close_windows(self._run_seed) if self._observing else []
        self._observing = False
        loss = float(torch.stack(self._losses).double().mean()) if self._losses else math.nan
        score = self._evaluation.score()
        epoch = self.epoch + 1
        worth = self._growth.worth(self._evaluation, score, epoch, self._run_seed)
        return EpochFacts(
            at=Moment(step=self.global_step, epoch=epoch),
            steps=self._steps,
            train_loss=self._crew.meet(loss),
            score=score.value,
            metrics=score.metrics,
            pressures=pressures,
            seeds=self._growth.observe(self._evaluation, score, epoch, worth),
            coalitions=worth.coalitions,
            model_parameters=sum(parameter.numel() for parameter in self._model.parameters()),
            growing_parameters=self._growth.growing_parameters,
            step_seconds=statistics.median(self._intervals) if self._intervals else 0.0,
            overhead_seconds=statistics.median(self._in_esper) if self._in_esper else 0.0,
        )

    def _checkpoint_if_due(self) -> None:
        # What the log reaches beyond was checkpointed when it was new, or is about to be trained again.
        kept = self._settings.checkpoint_when_kept and self._growth.fossilized() != self._kept_then
        due = kept or self.epoch % self._settings.checkpoint_every_epochs == 0
        if not due or self._fences.repeats(self.moment()):
            return
        began = perf_counter()
        try:
            taken = self._checkpoints.save(self.moment())
            self._recovery.keep(taken)
            self._fences.tally.checkpoint_s = perf_counter() - began
            self._fences.tally.checkpoint_bytes = float(taken.checkpoint.bytes)
            self._kept_then = self._growth.fossilized()
        except UNANSWERED as error:
            self._say(f"epoch {self.epoch}: no checkpoint, the log did not answer ({error})")
            return
        if self._settings.keep_checkpoints is not None:
            try:
                self._checkpoints.expire(self.moment(), self._settings.keep_checkpoints)
            except UNANSWERED as error:
                self._say(f"epoch {self.epoch}: older checkpoints expire with the next one ({error})")

    def _hold_what_is_gone_back_to(self, retraining: Retraining, recorded: Checkpoint | None) -> None:
        """Go back to what was trained here, not to what was stored: else the rest says nothing of this training."""
        if recorded is not None:
            taken = Taken(recorded, self._checkpoints.copied())
            self._recovery.keep(taken, for_good=retraining.goes_back_to(recorded))
        # What was done by hand after the checkpoint, before the next step.
        self._fences.show_due(self.moment())

    def _summarised(self) -> RunSummary:
        score = self._evaluation.score()
        kept = [self._kept(seed_id, score) for seed_id in self._growth.fossilized()]
        in_esper, elapsed = self._totals
        return RunSummary(
            at=self.moment(),
            score=score.value,
            parameters_before=self.parameters_before,
            parameters_after=sum(parameter.numel() for parameter in self._model.parameters()),
            kept=kept,
            germinated=self._growth.germinated,
            culled=self._growth.culled,
            overhead_ratio=in_esper / elapsed if elapsed else 0.0,
            model_sha256=model_sha256(self._model),
        )

    def _kept(self, seed_id: str, score: Score) -> KeptSeed:
        seed, slot = self._growth.seeds[seed_id], self._growth.slots[seed_id]
        return KeptSeed(
            seed_id=seed_id,
            blueprint_id=seed.blueprint_id,
            parameters=seed.parameter_count,
            score_with=score.value,
            score_without=self._evaluation.without(slot).value,
        )

    def __enter__(self) -> "Session":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the run. It stays resumable, its end unrecorded, if the block failed or the log does not answer."""
        if not self._open:
            return
        self._open = False
        try:
            self._growth.close_windows(self._run_seed)
            if self._retraining is not None:
                self._retrained(self._retraining, failed=kind is not None)
            elif kind is None:
                self._end()
                self._crew.farewell()
            else:
                self._say(f'run {self.run_id} was interrupted; go on with esper.attach(..., resume="{self.run_id}")')
        finally:
            self._close()

    def _retrained(self, retraining: Retraining, *, failed: bool) -> None:
        try:
            if not failed:
                retraining.ended(self.moment(), self._model)
                self.summary = self._summarised()
        finally:
            retraining.tell()

    def _end(self) -> None:
        self._fences.catch_up(self.moment())
        self.summary = self._summarised()
        kept = self._fences.finish(self.summary)
        self._say(_last_words(self.run_id, self.summary))
        if self._fences.closed_because:
            end = f"{self.outbox_depth} facts wait in the outbox" if kept else "there was no room for it in the outbox"
            self._say(
                f"the end of run {self.run_id} is not recorded, the log did not answer "
                f'({self._fences.closed_because}); {end}; esper.attach(..., resume="{self.run_id}") makes up for it'
            )


def _refuse_divergence(facts: EpochFacts, fence: Fence) -> None:
    """A resumed run that repeats a recorded epoch must find the recorded numbers, to the last bit."""
    if not fence.recorded_before:
        return
    pairs = {"train_loss": (fence.facts.train_loss, facts.train_loss), "score": (fence.facts.score, facts.score)}
    for what, (recorded, found) in pairs.items():
        if repr(recorded) != repr(found):
            raise RunDiverged(facts.at.epoch, what, recorded, found)


def _last_words(run_id: str, summary: RunSummary) -> str:
    if summary.germinated == 0:
        return (
            f"run {run_id}: nothing grew. No seed was ever germinated; the model has the parameters it began with. "
            f"`esper events {run_id[:12]} --type DecisionMade` tells why"
        )
    return (
        f"run {run_id}: {summary.germinated} seeds germinated, {len(summary.kept)} kept, {summary.culled} culled; "
        f"{summary.parameters_before} -> {summary.parameters_after} parameters, score {summary.score:.4f}"
    )
