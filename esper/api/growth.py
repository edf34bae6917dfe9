"""The growth sites of one live model, each with the seed that its history says lives in it."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from time import thread_time
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from actors.changes import Change
from esper.api.contributions import Contributions, Worth
from esper.api.errors import BatchMissing
from esper.api.evaluation import Evaluation, Score
from esper.api.settings import GrowthSettings, after_blending
from esper.api.wrap import note, survey_of
from esper.kasmina.adoption import group_near
from esper.kasmina.errors import SiteUnusable
from esper.kasmina.glance import Glance, look
from esper.kasmina.grafting import Seedling, graft
from esper.kasmina.pressure import pressure
from esper.kasmina.ranks import ALONE, Ranks
from esper.kasmina.rules.seed import Seed, SeedEvent, evolve
from esper.kasmina.slot import Slot
from esper.kasmina.window import LossScale, unscaled
from esper.leyline.v1.enums_pb2 import AfterBlending
from esper.leyline.v1.enums_pb2 import SeedLifecycleStage as Stage
from esper.leyline.v1.run_pb2 import CheckpointSeed, EpochFacts
from esper.leyline.v1.site_pb2 import SeedObservation, Site, SitePressure, SiteShape
from esper.tamiyo.rules.germination import init_seed
from esper.tamiyo.rules.reports import WINDOW_EPOCHS
from esper.urza.cache import KernelCache

# From model and batch to loss.
Objective: TypeAlias = Callable[[nn.Module, Any], Tensor]

IN_THE_FORWARD = (Stage.SEED_STAGE_BLENDING, Stage.SEED_STAGE_PROBATIONARY)
PLANTED = (
    Stage.SEED_STAGE_TRAINING,
    Stage.SEED_STAGE_BLENDING,
    Stage.SEED_STAGE_SHADOWING,
    Stage.SEED_STAGE_PROBATIONARY,
    Stage.SEED_STAGE_FOSSILIZED,
)
# Of the learning rate, at a seed's first step, if it is warmed up.
COLD = 0.1
LIVING = (Stage.SEED_STAGE_GERMINATED, *PLANTED)


class Growth:
    """Slots and seeds of one model. `seeds` folds the events whose effect the model already shows."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        sites: Sequence[Site],
        settings: GrowthSettings,
        loss_scale: LossScale = unscaled,
        ranks: Ranks = ALONE,
        objective: Objective | None = None,
    ) -> None:
        self.slots: dict[str, Slot] = {site.seed_id: Slot(site, model, loss_scale, ranks) for site in sites}
        # Hears of every change that the model shows.
        self.heard_by: Callable[[Change], None] = _nobody
        self._ranks = ranks
        # Sites that turned out to be none, and why.
        self.unusable: dict[str, str] = {}
        self._glance: Glance | None = None
        self.seeds: dict[str, Seed] = {site.seed_id: Seed() for site in sites}
        # Verified kernels at hand; those of planted seeds stay there.
        limits = settings.kernels
        self.kernels = KernelCache(
            int(limits.cache_mib * 2**20), limits.cache_kernels, limits.unused_epochs, self.attached_kernels
        )
        self.germinated = 0
        self.culled = 0
        self._score_drop: dict[str, float] = {}
        self._stepped_at: float | None = None
        self._model, self._optimizer, self._settings = model, optimizer, settings
        self._objective = objective
        # Gradients of the model's own parameters are multiplied by a scaler's factor until its `unscale_`.
        self._scaled = loss_scale is not unscaled
        if why := self.unfit(after_blending(settings.after_blending)):
            raise ValueError(why)

    def unfit(self, policy: AfterBlending) -> str:
        """Say why a seed cannot go on like this after blending; empty if it can."""
        if self._scaled and policy == AfterBlending.AFTER_BLENDING_COADAPT:
            return (
                'after_blending="coadapt" does not go with a GradScaler, whose `unscale_` knows your optimizer\'s '
                'parameters only: choose "share" or "freeze"'
            )
        return ""

    @property
    def after_blending(self) -> AfterBlending:
        """What the settings say about seeds that have been blended in."""
        return after_blending(self._settings.after_blending)

    @property
    def alive(self) -> tuple[str, ...]:
        """Ids of the slots in which a seed lives that can still be removed, in site order."""
        return tuple(seed_id for seed_id, seed in self.seeds.items() if seed.alive)

    def attached_kernels(self) -> set[str]:
        """Return the ids of the kernels that planted seeds grew from."""
        return {seed.kernel_id for seed in self.seeds.values() if seed.stage in PLANTED}

    @property
    def shadowing(self) -> bool:
        """Whether a seed that was blended in is switched off for its probes, so that the host does without it."""
        return any(seed.stage == Stage.SEED_STAGE_SHADOWING for seed in self.seeds.values())

    @property
    def growing_parameters(self) -> int:
        """Parameters of the seeds that are planted but not part of the model yet."""
        return sum(seed.parameter_count for seed in self.seeds.values() if seed.alive and seed.kernel_id)

    def fossilized(self) -> tuple[str, ...]:
        """Ids of the slots whose seed was kept, in the order in which they joined the model."""
        kept = [item for item in self.seeds.items() if item[1].stage == Stage.SEED_STAGE_FOSSILIZED]
        return tuple(seed_id for seed_id, _ in sorted(kept, key=lambda item: item[1].since_step))

    def in_order_of_joining(self) -> list[str]:
        """Return the ids of all slots: those whose seed was kept, in that order, and then the others."""
        kept = self.fossilized()
        return [*kept, *(seed_id for seed_id in self.seeds if seed_id not in kept)]

    @property
    def host_learning_rate(self) -> float:
        """The learning rate of the optimizer's first group."""
        return float(self._optimizer.param_groups[0]["lr"])

    def learning_rate(self, seed_id: str) -> Callable[[], float]:
        """Return what tells the rate at which the growing seed of *seed_id* learns, asked before each of its steps.

        It is that of the host's group at the seed's exit, wherever a scheduler has it by then, times the ratio of the
        settings, and in the seed's first steps a part of that.
        """
        slot, settings = self.slots[seed_id], self._settings
        exit_ = self._model.get_submodule(slot.site.exit_module)

        def rate() -> float:
            warmth = warmed_up(slot.steps_learnt, settings.seed_warmup_steps)
            return float(group_near(self._optimizer, exit_)["lr"]) * settings.seed_learning_rate_ratio * warmth

        return rate

    def seedling(self, seed_id: str, module: nn.Module) -> Seedling:
        """Return *module* ready for planting in the slot of *seed_id*."""
        seed = self.seeds[seed_id]
        rate = self.learning_rate(seed_id)
        return Seedling(module, seed.blend_mode, seed.init_seed, seed.shape, rate, seed.blend, seed.after_blending)

    def step(self, steps_done: int, objective: Callable[[nn.Module], Tensor] | None = None) -> None:
        """Let every planted seed learn from the step that the host has just made, from *objective* if there is one."""
        growing = [self.slots[seed_id] for seed_id in self.alive]
        claims: dict[tuple[str, ...], list[Tensor]] = defaultdict(list)
        inside = sum(slot.forward_seconds for slot in growing)
        # Of this thread's own work: how busy the machine is otherwise says nothing about a seed.
        host = None if self._stepped_at is None else max(0.0, thread_time() - self._stepped_at - inside)
        for slot in growing:
            slot.step(steps_done, claims[slot.place], objective)
            slot.keep_pace(host, self._settings.max_seed_time_ratio, self._settings.seed_time_allowance_s)
        self._share_failures(growing)
        for seed_id, seed in self.seeds.items():
            if seed.stage == Stage.SEED_STAGE_FOSSILIZED:
                self.slots[seed_id].step(steps_done)
        self._stepped_at = thread_time()

    def objective_on(self, batch: object) -> Callable[[nn.Module], Tensor] | None:
        """Return the script's objective for *batch*, None if it has none.

        Raises:
            BatchMissing: there is an objective, and no batch for it.
        """
        objective = self._objective
        if objective is None:
            return None
        if batch is None:
            raise BatchMissing
        return lambda model: objective(model, batch)

    def _share_failures(self, growing: Sequence[Slot]) -> None:
        if self._ranks.count > 1 and growing:
            failed = self._ranks.total([float(bool(slot.failed)) for slot in growing])
            for slot, ranks in zip(growing, failed, strict=True):
                if ranks:
                    slot.fail_elsewhere()

    def apply(self, change: Change, seedling: Seedling | None) -> None:
        """Make the acknowledged *change* true in the model and fold it."""
        for event in change.messages:
            graft(self.slots[change.seed_id], event, self._optimizer, seedling)
            self.fold(change.seed_id, event)  # type: ignore[arg-type]
        self.heard_by(change)

    def fold(self, seed_id: str, event: SeedEvent) -> None:
        """Fold one event into the seed of *seed_id* without touching the model."""
        before, now = self.seeds[seed_id], evolve(self.seeds[seed_id], event)
        self.seeds[seed_id] = now
        if now.generation > before.generation:
            self.germinated += 1
            self._score_drop.pop(seed_id, None)
        if before.alive and now.stage == Stage.SEED_STAGE_CULLED:
            self.culled += 1

    def recall_only(self, epochs: Sequence[EpochFacts]) -> None:
        """Forget what later gates ask for, but for what *epochs* measured."""
        self._score_drop.clear()
        for facts in epochs:
            self.recall(facts)

    def recall(self, facts: EpochFacts) -> None:
        """Remember what an epoch on record measured and a later gate asks for."""
        for seen in facts.seeds:
            if "score_drop" in seen.measured and seen.generation == self.seeds[seen.seed_id].generation:
                self._score_drop[seen.seed_id] = seen.measured["score_drop"]

    def reset_evidence(self, seed_id: str) -> dict[str, float]:
        """Return what gate G5 asks for: what is left of the seed that lived in the slot."""
        return self.slots[seed_id].leftovers(self._optimizer)

    def probation_evidence(self, seed_id: str) -> dict[str, float]:
        """Return what gate G4 asks for once the shadow probes are done."""
        measured = dict(self.slots[seed_id].measured())
        if seed_id in self._score_drop:
            measured["score_drop"] = self._score_drop[seed_id]
        return measured

    def worth(self, evaluation: Evaluation, score: Score, epoch: int, run_seed: int) -> Worth:
        """Measure what the seeds in the forward pass contribute: those blended in, and those kept a short while ago."""
        live = {seed_id: self.slots[seed_id] for seed_id in self.seeds if self._counts(seed_id, epoch)}
        draw = init_seed(run_seed, "contribution", epoch)
        return Contributions(evaluation, live, score).worth(self._settings.contribution_evaluations, draw)

    def _counts(self, seed_id: str, epoch: int) -> bool:
        seed = self.seeds[seed_id]
        if seed.stage == Stage.SEED_STAGE_FOSSILIZED:
            return epoch - seed.since_epoch <= WINDOW_EPOCHS
        return seed.stage in IN_THE_FORWARD and seed.ramp is not None

    def observe(self, evaluation: Evaluation, score: Score, epoch: int, worth: Worth) -> list[SeedObservation]:
        """Measure every slot at the end of *epoch* (epochs ended, this one included)."""
        return [
            SeedObservation(
                seed_id=seed_id,
                stage=seed.stage,
                generation=seed.generation if seed.stage in LIVING else seed.next_generation - 1,
                blueprint_id=seed.blueprint_id,
                epochs_in_stage=epoch - seed.since_epoch,
                alpha=self.slots[seed_id].alpha if seed.alive else 0.0,
                measured=self._measured(seed_id, evaluation, score, epoch, worth),
            )
            for seed_id, seed in self.seeds.items()
        ]

    def _measured(
        self, seed_id: str, evaluation: Evaluation, score: Score, epoch: int, worth: Worth
    ) -> dict[str, float]:
        seed, slot = self.seeds[seed_id], self.slots[seed_id]
        if seed.stage not in PLANTED:
            return {}
        measured = dict(slot.measured())
        in_stage = epoch - seed.since_epoch
        measured["epochs_in_stage"] = float(in_stage)
        if seed.stage == Stage.SEED_STAGE_TRAINING and in_stage >= self._settings.gates.min_training_epochs:
            probe = evaluation.probe(slot, score)
            measured |= {"best_alpha": probe.best_alpha, "probe_gain": probe.gain}
        if seed_id in worth.values:
            measured["contribution"] = worth.values[seed_id]
        if seed_id in worth.values and seed.stage in IN_THE_FORWARD:
            # Many seeds are not switched off one by one: then what it is worth among them has to do.
            self._score_drop[seed_id] = worth.drops.get(seed_id, -worth.values[seed_id])
            measured["score_drop"] = self._score_drop[seed_id]
            measured["ramp_complete"] = float(seed.ramp_completed)
        return measured

    def glance(self, known: Mapping[str, SiteShape]) -> None:
        """Take over shapes that are *known*, and learn the others from the first training pass."""
        dormant = [slot for seed_id, slot in self.slots.items() if self._is_free(seed_id)]
        for slot in dormant:
            slot.shape = slot.shape or known.get(slot.site.seed_id)
        self._glance = Glance(self._model, dormant)

    def end_glance(self) -> list[str]:
        """Take note of what the first training pass has shown; return what there is to say about it.

        Raises:
            HostUnseen, CompiledHost: no site can see the training.
            SiteUnusable: a site that was named exactly cannot carry a seed.
        """
        glance, self._glance = self._glance, None
        if glance is None:
            return []
        glance.demand()
        return self._set_aside(glance.refusals)

    def _set_aside(self, refusals: Mapping[str, SiteUnusable]) -> list[str]:
        found = survey_of(self._model)
        for seed_id, refusal in refusals.items():
            if found.exact(seed_id):
                raise refusal
            self.unusable[seed_id] = refusal.reason
        shapes = {seed_id: slot.shape for seed_id, slot in self.slots.items() if slot.shape is not None}
        note(self._model, shapes, self.unusable)
        return [
            f"site {self.slots[seed_id].site.label} is left out: {refusals[seed_id].reason}" for seed_id in refusals
        ]

    def _is_free(self, seed_id: str) -> bool:
        return self.seeds[seed_id].stage == Stage.SEED_STAGE_DORMANT and seed_id not in self.unusable

    def open_windows(self, limit_samples: int) -> None:
        """Watch what flows through every dormant site, until `close_windows`."""
        for seed_id, slot in self.slots.items():
            if self._is_free(seed_id):
                slot.open_window(limit_samples)

    def observe_batch(self, *inputs: object) -> None:
        """Learn what flows through the dormant sites from one forward pass that training does not notice.

        Raises:
            SiteUnusable: a site that was named exactly cannot carry a seed.
        """
        if self._glance is not None:
            self._glance.close()
            self._glance = None
        free = [slot for seed_id, slot in self.slots.items() if self._is_free(seed_id)]
        self._set_aside(look(self._model, free, inputs))

    def close_windows(self, run_seed: int) -> list[SitePressure]:
        """Stop watching and return the growth pressure of every site that saw enough samples to tell."""
        if self._glance is not None:
            self._glance.close()
            self._glance = None
        found: list[SitePressure] = []
        for seed_id, slot in self.slots.items():
            try:
                window = slot.close_window()
            except SiteUnusable as refusal:
                # It was well in the first pass: the training goes on without this site.
                self.unusable[seed_id] = refusal.reason
                continue
            measured = None if window is None else pressure(seed_id, window, run_seed)
            if measured is not None:
                found.append(measured)
        return found

    def new_epoch(self) -> None:
        """Begin counting anew what is counted per epoch."""
        self._stepped_at = None
        self.kernels.new_epoch()
        for seed_id in self.alive:
            self.slots[seed_id].new_epoch()

    def seed_map(self, versions: Mapping[str, int], digests: Mapping[str, str]) -> list[CheckpointSeed]:
        """Return the seed-kernel-blueprint map of a checkpoint."""
        return [
            CheckpointSeed(
                seed_id=seed_id,
                generation=seed.generation,
                stage=seed.stage,
                blueprint_id=seed.blueprint_id,
                parameters=seed.parameters,
                kernel_id=seed.kernel_id,
                weights_sha256=digests.get(seed_id, ""),
                version=versions[seed_id],
            )
            for seed_id, seed in self.seeds.items()
        ]


def warmed_up(steps: int, over: int) -> float:
    """Return by what a seed's learning rate is multiplied after *steps* of *over*: from 0.1 to 1, in a line."""
    return 1.0 if steps >= over else COLD + (1.0 - COLD) * steps / over


def _nobody(change: Change) -> None:
    """Tell no other process."""
