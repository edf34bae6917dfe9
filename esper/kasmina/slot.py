"""One growth site on a live model, and the seed that lives in it.

      plant          begin_blending       begin_shadowing          begin_probation        fossilize
DORMANT ──→ TRAINING ────────→ BLENDING ─────────→ SHADOWING ────────────→ PROBATIONARY ──→ FOSSILIZED
   ↑                               ↑──────── retarget ─────┴───────────────────┘
   └── remove, from every stage

Which of these may happen, and when, is decided in `rules/`; here it is made true. Training thread only.
"""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import msgspec
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from esper.kasmina.adoption import release
from esper.kasmina.doorway import declared
from esper.kasmina.errors import CompiledHost, SeedFault, SeedStateInvalid, SiteNotObserved, SlotEmpty, SlotOccupied
from esper.kasmina.isolation import shared_parameters
from esper.kasmina.live_seed import LiveSeed
from esper.kasmina.planted import PlantedSeed, SeedFacts, home, planted_in
from esper.kasmina.ranks import ALONE, Ranks
from esper.kasmina.rehearsal import rehearsed
from esper.kasmina.remains import LEFTOVERS, Remains
from esper.kasmina.rules.alpha import Ramp
from esper.kasmina.window import LossScale, Recorder, Window, unscaled
from esper.leyline.canonical import canonical_bytes
from esper.leyline.v1.enums_pb2 import AfterBlending, AlphaCurve, BlendMode
from esper.leyline.v1.enums_pb2 import SeedLifecycleStage as Stage
from esper.leyline.v1.site_pb2 import BlendOptions, Site, SiteShape


class Slot:
    """A place in *model* where one seed at a time can live. Without a seed, and unobserved, it has no hook at all."""

    def __init__(self, site: Site, model: nn.Module, loss_scale: LossScale = unscaled, ranks: Ranks = ALONE) -> None:
        self.site = site
        self._loss_scale, self._ranks = loss_scale, ranks
        self.shape: SiteShape | None = None
        self._model = model
        self._recorder: Recorder | None = None
        self._seen_on: torch.device | None = None
        self._planted: PlantedSeed | None = None
        self._remains: Remains | None = None

    @property
    def stage(self) -> Stage:
        """What the seed is doing in this model now; DORMANT without a seed."""
        return Stage.SEED_STAGE_DORMANT if self._planted is None else self._planted.stage

    @property
    def alpha(self) -> float:
        """How far the seed is blended in, of 1; 0 without a seed."""
        return 0.0 if self._planted is None else self._planted.alpha

    @property
    def device(self) -> torch.device:
        """Where the seed is; without one, where the site was seen to compute, or else where its weights are."""
        if self._planted is not None:
            return self._planted.device
        return self._seen_on or home(self._model.get_submodule(self.site.exit_module), self._model)

    @property
    def steps_learnt(self) -> int:
        """How many optimizer steps the growing seed has made; 0 without one."""
        return 0 if self._planted is None else self._planted.seed.steps

    @property
    def failed(self) -> str:
        """Why the seed may not go on, in words; empty while it may."""
        return "" if self._planted is None else self._planted.facts.meter.failed

    @property
    def module(self) -> nn.Module:
        """The seed's module; raises `SlotEmpty` without one."""
        return self._living().seed.module

    def open_window(self, limit_samples: int = 2048) -> None:
        """Watch the site in the coming training batches; no effect on them, and on no random stream.

        Raises:
            SlotOccupied: a seed lives here.
        """
        if self._planted is not None:
            raise SlotOccupied(self.site.seed_id)
        if self._recorder is None:
            self._recorder = Recorder(self._model, self.site, limit_samples, self._loss_scale)

    def close_window(self) -> Window | None:
        """Stop watching; return what was seen, or None if no training batch passed through the site.

        Raises:
            SiteUnusable: what flows here cannot carry a seed.
            CompiledHost: torch.compile compiled the site while it was watched.
        """
        recorder, self._recorder = self._recorder, None
        if recorder is None:
            return None
        window = recorder.close()
        self._seen_on = recorder.device or self._seen_on
        if recorder.traced:
            raise CompiledHost("")
        if recorder.refusal is not None:
            raise recorder.refusal
        if recorder.shape is not None:
            self._learn_shape(recorder.shape)
        return window

    def _learn_shape(self, found: SiteShape) -> None:
        # Compiled code shows where a tensor comes from, not whether the model returns it.
        if declared(self._model) and self.shape is not None:
            found.at_model_output = self.shape.at_model_output
        self.shape = found

    def plant(
        self,
        module: nn.Module,
        *,
        mode: BlendMode,
        learning_rate: Callable[[], float] | None,
        init_seed: int,
        shape: SiteShape | None = None,
        blend: BlendOptions | None = None,
        after_blending: AfterBlending = AfterBlending.AFTER_BLENDING_UNSPECIFIED,
    ) -> None:
        """Let *module* learn here, in isolation: the host's output stays the very same tensor.

        *learning_rate* is asked at every step (None: 1e-3); *init_seed* seeds the seed's own random draws. Without
        *shape*, what the last window found is used. *blend* are the numbers of *mode*; without them the seed adds in
        RESIDUAL, and replaces in CONVEX. *after_blending* says who trains it from its probation on.

        Raises:
            SlotOccupied: a seed lives here already.
            SiteNotObserved: no window was opened, and no shape given.
        """
        self.shape = shape or self.shape
        if self.shape is None:
            raise SiteNotObserved(self.site.seed_id)
        shared = shared_parameters(module, self._model)
        facts = SeedFacts(
            stage=int(Stage.SEED_STAGE_TRAINING),
            blend_mode=int(mode),
            blend="" if blend is None else canonical_bytes(blend).hex(),
            after_blending=int(after_blending),
            init_seed=init_seed,
            shape=canonical_bytes(self.shape).hex(),
        )
        seed = LiveSeed(module, facts.new_blend(), learning_rate, init_seed, self._ranks)
        facts.birth_digest = seed.digest()
        facts.meter.found_violations(shared)
        self._install(seed, facts)

    def begin_blending(self, ramp: Ramp) -> None:
        """Let the seed into the forward pass, along *ramp*; from now on it learns from the user's own loss."""
        planted = self._living()
        planted.enter(Stage.SEED_STAGE_BLENDING, ramp)
        planted.set_alpha(ramp.at(ramp.start_step))

    def retarget(self, ramp: Ramp) -> None:
        """Go back to blending, towards another alpha."""
        self.begin_blending(ramp)

    def pause(self, step: int, alpha: float) -> None:
        """Let alpha rest at *alpha*, where its ramp was after *step* optimizer steps."""
        planted = self._living()
        planted.facts.ramp = Ramp(step, 0, alpha, alpha, AlphaCurve.ALPHA_CURVE_LINEAR)
        planted.set_alpha(alpha)

    def hold(self, alpha: float) -> None:
        """Stop the ramp and stay at *alpha*, between 0 and 1."""
        if not 0.0 <= alpha <= 1.0:
            raise ValueError(f"alpha is {alpha}, not between 0 and 1")
        planted = self._living()
        planted.facts.ramp = None
        planted.set_alpha(alpha)

    def begin_shadowing(self) -> None:
        """Take the seed out of the forward pass; its output is probed on live batches. Alpha is kept."""
        planted = self._living()
        planted.enter(Stage.SEED_STAGE_SHADOWING, planted.facts.ramp)

    def begin_probation(self) -> None:
        """Let the seed back in, at the alpha it had."""
        planted = self._living()
        planted.enter(Stage.SEED_STAGE_PROBATIONARY, planted.facts.ramp)
        planted.settle()

    def fossilize(self, optimizer: Optimizer) -> None:
        """Make the seed a part of the model: a submodule named `esper_<seed id>`, trained as its policy has it."""
        planted = self._living()
        planted.seed.drop_gradients()
        planted.enter(Stage.SEED_STAGE_FOSSILIZED, planted.facts.ramp)
        planted.join(optimizer)

    def remove(self) -> None:
        """Take the seed out: the model computes what it would without. No effect on an empty slot.

        A fossilized seed's parameters stay in the host's optimizer; nothing else of a seed stays.
        """
        planted, self._planted = self._planted, None
        if planted is None:
            return
        self._remains = Remains(planted.seed, planted.parts().values(), planted.tap)
        planted.leave_ranks()
        planted.unhook()
        planted_in(self._model).pop(self.site.seed_id)
        if planted.stage == Stage.SEED_STAGE_FOSSILIZED:
            holder = planted.holder
            for name in planted.parts():
                delattr(holder, name)

    def uproot(self, optimizer: Optimizer) -> None:
        """Take the seed out, and out of *optimizer* too if it had joined it: as if it had never been planted."""
        if self._planted is None:
            return
        parameters = list(self._planted.seed.module.parameters())
        self.remove()
        release(optimizer, parameters)

    def leftovers(self, *optimizers: Optimizer) -> dict[str, float]:
        """Count what is left of the seed that was removed last: in the model, in *optimizers* (the host's), in memory.

        0 of everything if none was removed in this process.
        """
        found = dict.fromkeys(LEFTOVERS, 0.0) if self._remains is None else self._remains.found(self._model, optimizers)
        return found | {"alpha": self.alpha}

    @property
    def place(self) -> tuple[str, ...]:
        """What tells whether two seeds add to one and the same tensor."""
        return (self.site.exit_module, self.site.layout, *self.site.output)

    def step(
        self,
        steps_done: int,
        claims: list[Tensor] | None = None,
        objective: Callable[[nn.Module], Tensor] | None = None,
    ) -> None:
        """Follow one optimizer step of the user's, after their backward pass: learn, and move alpha.

        *claims* is what seeds at the same `place`, stepped before this one, would bring already: this one learns what
        they leave, and adds what it brings. With *objective*, the loss of the model that it is given, a seed in
        training learns from its true effect on that loss; the model is run once more for it.
        """
        if self._planted is None:
            return
        if self.stage == Stage.SEED_STAGE_FOSSILIZED:
            self._planted.adapt()
        else:
            lesson = None if objective is None else partial(self._rehearse, objective)
            self._planted.step(steps_done, [] if claims is None else claims, lesson)

    @contextmanager
    def _rehearse(self, objective: Callable[[nn.Module], Tensor], seed: PlantedSeed) -> Generator[Tensor]:
        with rehearsed(seed, self._model):
            yield objective(self._model)

    @property
    def forward_seconds(self) -> float:
        """Time that the growing seed took inside the host's forward passes since the last step."""
        growing = self._planted is not None and self.stage != Stage.SEED_STAGE_FOSSILIZED
        return self._living().seed.pace.forward_seconds if growing else 0.0

    def keep_pace(self, host_seconds: float | None, ratio: float, allowance_s: float) -> None:
        """Fail a seed that takes more than *ratio* times the host's own step and more than *allowance_s*, lately.

        *host_seconds* is what the host's last step took without its seeds; None if that is not known.
        """
        if self._planted is not None and self.stage != Stage.SEED_STAGE_FOSSILIZED:
            self._planted.keep_pace(host_seconds, ratio, allowance_s)

    def fail_elsewhere(self) -> None:
        """Note that the seed has failed on another rank; without effect if it has failed here."""
        if self._planted is not None and not self.failed:
            self._planted.facts.meter.fault(SeedFault("elsewhere", "it failed on another rank"), certain=True)

    def leave_ranks(self) -> None:
        """Average no gradients over ranks any more."""
        if self._planted is not None:
            self._planted.leave_ranks()

    def new_epoch(self) -> None:
        """Begin an epoch's measurements. What a backward pass left that no step has used is dropped."""
        if self._planted is not None and self.stage != Stage.SEED_STAGE_FOSSILIZED:
            self._planted.new_epoch()

    def measured(self) -> dict[str, float]:
        """Return the gate inputs that are known here, by name; what was not measured is absent."""
        return {} if self._planted is None else self._planted.measured()

    @contextmanager
    def override_alpha(self, alpha: float) -> Generator[None]:
        """Evaluate as if the seed were blended in at *alpha*, whatever its stage. Nothing of the seed is moved.

        Raises:
            SlotEmpty: there is no seed.
        """
        with self._living().override_alpha(alpha):
            yield

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return copies of all tensors, and JSON-able facts, from which `load_state` continues bit for bit.

        To be called at a fence: what a backward pass left for an optimizer step still to come is not part of it.
        """
        if self._planted is None:
            shape = "" if self.shape is None else canonical_bytes(self.shape).hex()
            return {}, msgspec.to_builtins(SeedFacts(shape=shape))
        self._planted.facts.alpha = self.alpha
        return self._planted.seed.tensors(), msgspec.to_builtins(self._planted.facts)

    def load_state(
        self,
        tensors: Mapping[str, Tensor],
        facts: Mapping[str, Any],
        *,
        module: nn.Module | None,
        learning_rate: Callable[[], float] | None,
        optimizer: Optimizer,
    ) -> None:
        """Put back the seed that `state` described, into *module*, rebuilt from its kernel (None for an empty slot).

        A fossilized seed's parameters join *optimizer*. So load the slots first, in the order in which their seeds
        were fossilized, and the model's and the optimizer's own states after them.

        Raises:
            SlotOccupied: a seed lives here already.
            SeedStateInvalid: the tensors do not fit *module*.
        """
        known = msgspec.convert(facts, SeedFacts)
        self.shape = known.site_shape() if known.shape else None
        if known.stage == Stage.SEED_STAGE_DORMANT:
            return
        if module is None:
            raise SeedStateInvalid(self.site.seed_id, "there is a seed in it, and no module to load it into")
        seed = LiveSeed(module, known.new_blend(), learning_rate, known.init_seed, self._ranks)
        try:
            seed.restore(tensors)
        except (RuntimeError, KeyError, ValueError) as misfit:
            raise SeedStateInvalid(self.site.seed_id, str(misfit)) from misfit
        seed.hold_still(known.frozen)
        self._install(seed, known)
        if known.stage == Stage.SEED_STAGE_FOSSILIZED:
            self._living().join(optimizer)

    def reload(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Put the seed that lives here back to what `state` described, without another module.

        Raises:
            SlotEmpty: there is no seed.
        """
        planted, known = self._living(), msgspec.convert(facts, SeedFacts)
        planted.seed.hold_still(known.frozen)
        planted.seed.restore(tensors)
        planted.become(known)

    def _install(self, seed: LiveSeed, facts: SeedFacts) -> None:
        if self._planted is not None:
            raise SlotOccupied(self.site.seed_id)
        if self._recorder is not None:
            self.close_window()
        self._planted = PlantedSeed(self.site, self._model, seed, facts, self._loss_scale, self.device, self._ranks)
        self._planted.hook()

    def _living(self) -> PlantedSeed:
        if self._planted is None:
            raise SlotEmpty(self.site.seed_id)
        return self._planted
