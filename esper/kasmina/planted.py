"""A seed at its place in a live model: what it does in each stage to what flows through the site."""

from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from typing import Any, TypeAlias, cast

import msgspec
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from esper.kasmina.adoption import adopt
from esper.kasmina.blending import Blend
from esper.kasmina.errors import SeedFault
from esper.kasmina.feedback import Feedback
from esper.kasmina.incubation import Incubator, Progress
from esper.kasmina.isolation import shared_parameters, strangers
from esper.kasmina.live_seed import LiveSeed
from esper.kasmina.meter import Meter, Sizes
from esper.kasmina.ranks import ALONE, Ranks
from esper.kasmina.rules.alpha import Ramp
from esper.kasmina.tap import Crossing, Removable, Tap, in_backward
from esper.kasmina.window import LossScale
from esper.kasmina.witness import Witness, told
from esper.leyline.v1.enums_pb2 import AfterBlending, AlphaCurve, BlendMode
from esper.leyline.v1.enums_pb2 import SeedLifecycleStage as Stage
from esper.leyline.v1.site_pb2 import BlendOptions, Site, SiteShape

# The loss with that seed let in, for as long as the context lasts.
Lesson: TypeAlias = Callable[["PlantedSeed"], AbstractContextManager[Tensor]]

SUBMODULE = "esper_"
# A plain attribute of the model, neither module nor parameter: the seeds planted in it, by seed id.
PLANTED = "_esper_planted"


class SeedFacts(msgspec.Struct):
    """What a planted seed knows beside its tensors; JSON-able."""

    stage: int = int(Stage.SEED_STAGE_DORMANT)
    blend_mode: int = int(BlendMode.BLEND_MODE_UNKNOWN)
    # The numbers of the mode, as hexadecimal Leyline bytes; empty where it has none.
    blend: str = ""
    after_blending: int = int(AfterBlending.AFTER_BLENDING_UNSPECIFIED)
    # The weights stand still, as the policy has it.
    frozen: bool = False
    init_seed: int = 0
    # The site's shape, as hexadecimal Leyline bytes; known before and after a seed, too.
    shape: str = ""
    alpha: float = 0.0
    # The fields of a `Ramp`: its protobuf enum is not a type that can be converted to.
    walk: tuple[int, int, float, float, int] | None = None
    steps_done: int = 0
    # The autograd graph of the next lesson is to be walked.
    proof_due: bool = True
    # The host is to be compared, before and after the seed's code runs.
    witness_due: bool = True
    birth_digest: str = ""
    meter: Meter = msgspec.field(default_factory=Meter)
    progress: Progress = msgspec.field(default_factory=Progress)

    def later(self, steps: int) -> "SeedFacts":
        """Return the same facts on a clock that has gone on by *steps*."""
        walk = self.walk and (self.walk[0] + steps, *self.walk[1:])
        return msgspec.structs.replace(self, walk=walk, steps_done=self.steps_done + steps)

    def site_shape(self) -> SiteShape:
        """Return the shape at the site."""
        return SiteShape.FromString(bytes.fromhex(self.shape))

    def new_blend(self) -> Blend:
        """Return the way into the host that these facts describe, as it was at the seed's birth."""
        options = BlendOptions.FromString(bytes.fromhex(self.blend)) if self.blend else None
        return Blend(cast("BlendMode", self.blend_mode), options, self.site_shape(), init_seed=self.init_seed)

    @property
    def ramp(self) -> Ramp | None:
        """The way that alpha goes, or None if it is held."""
        if self.walk is None:
            return None
        start_step, total_steps, start, target, curve = self.walk
        return Ramp(start_step, total_steps, start, target, cast("AlphaCurve", curve))

    @ramp.setter
    def ramp(self, ramp: Ramp | None) -> None:
        if ramp is None:
            self.walk = None
        else:
            self.walk = (ramp.start_step, ramp.total_steps, ramp.start, ramp.target, int(ramp.curve))


class PlantedSeed:
    """One seed in one model, from its planting to its removal. `Slot` is its public face."""

    def __init__(
        self,
        site: Site,
        model: nn.Module,
        seed: LiveSeed,
        facts: SeedFacts,
        loss_scale: LossScale,
        device: torch.device,
        ranks: Ranks = ALONE,
    ) -> None:
        self._ranks, self._averaged = ranks, list[Removable]()
        self.site, self.seed, self.facts = site, seed, facts
        self.tap: Tap | None = None
        self._loss_scale, self._scale = loss_scale, 1.0
        # A forward pass with gradients was seen since the last step: what backward passes recompute is no other batch.
        self._seen = False
        # A gradient other than 0 came to where the seed joins the host; looked for only while the seed feels none.
        self._asked = False
        self._model = model
        self._exit = model.get_submodule(site.exit_module)
        self._incubator = Incubator(facts.site_shape().at_model_output, facts.progress, ranks)
        self._alpha = torch.tensor(facts.alpha, device=device)
        self._override: Tensor | None = None
        self._feedback = _feedback(facts.meter)
        seed.name_group(group_name(site.seed_id))
        self.seed.to(self._alpha.device)

    @property
    def stage(self) -> Stage:
        """What the seed is doing now."""
        return cast("Stage", self.facts.stage)

    @property
    def alpha(self) -> float:
        """How far the seed is blended in, of 1."""
        return self._alpha.item()

    @property
    def device(self) -> torch.device:
        """Where the seed is."""
        return self._alpha.device

    def follow(self, device: torch.device) -> None:
        """Go where the site's activation is: with weights, moments, blend and alpha; what is there stays there."""
        if device != self._alpha.device:
            self._alpha = self._alpha.to(device)
            self.seed.to(device)

    @property
    def holder(self) -> nn.Module:
        """The module that a kept seed becomes a child of: the exit, or the last leaf inside it.

        Not the exit itself where that has children, because a container may run whatever children it has.
        """
        holder = self._exit
        while inside := [child for name, child in holder.named_children() if not name.startswith(SUBMODULE)]:
            holder = inside[-1]
        return holder

    def parts(self) -> dict[str, nn.Module]:
        """Return the modules that the holder of a kept seed has, by name: its own, and its blend if that learned."""
        name, blend = f"{SUBMODULE}{self.site.seed_id}", self.seed.blend
        return {name: self.seed.module} | ({f"{name}_blend": blend} if blend.state_dict() else {})

    def hook(self) -> None:
        """Begin to see what flows through the site. Seeds at one exit act in the order of their sites."""
        planted = planted_in(self._model)
        planted[self.site.seed_id] = self
        for other in sorted(planted.values(), key=lambda item: (len(item.site.seed_id), item.site.seed_id)):
            if other is self or (other.tap is not None and other.site.exit_module == self.site.exit_module):
                other.unhook()
                other.tap = Tap(self._model, other.site, other.visit)

    def unhook(self) -> None:
        """Stop seeing it: the site's output is what it was before the seed came."""
        if self.tap is not None:
            self.tap.remove()
        self.tap = None

    def become(self, facts: SeedFacts) -> None:
        """Go on from *facts*; lessons that no step has used are forgotten."""
        self.facts, self._feedback = facts, _feedback(facts.meter)
        self._incubator = Incubator(facts.site_shape().at_model_output, facts.progress, self._ranks)
        self.set_alpha(facts.alpha)
        self.seed.drop_gradients()

    def enter(self, stage: Stage, ramp: Ramp | None) -> None:
        """Begin *stage*, with its measurements."""
        self.facts.stage, self.facts.ramp, self.facts.proof_due = int(stage), ramp, True
        self.facts.witness_due = True
        self.facts.meter = Meter(failed=self.facts.meter.failed)
        self._feedback = _feedback(self.facts.meter)
        self.facts.meter.found_violations(shared_parameters(self.seed.module, self._model))

    def set_alpha(self, alpha: float) -> None:
        """Move alpha, without replacing its tensor."""
        self._alpha.fill_(alpha)

    def settle(self) -> None:
        """Stand still from now on, if that is what comes after blending."""
        if self.facts.after_blending == AfterBlending.AFTER_BLENDING_FREEZE:
            self.facts.frozen = True
            self.seed.hold_still(True)

    def join(self, optimizer: Optimizer) -> None:
        """Become a part of the model, trained as the policy has it: by *optimizer*, by its own, or not at all."""
        for name, part in self.parts().items():
            self.holder.add_module(name, part)
        if self.facts.frozen or self.facts.after_blending == AfterBlending.AFTER_BLENDING_COADAPT:
            return
        adopt(optimizer, self.seed.parameters, self.seed.optimizer, self._exit, group_name(self.site.seed_id))
        self.seed.optimizer = None
        # What averages the host's gradients over ranks was set up before this seed was there.
        self._averaged = self._ranks.keep_alike(self.seed.parameters)

    def leave_ranks(self) -> None:
        """Average no gradients over ranks any more."""
        for handle in self._averaged:
            handle.remove()
        self._averaged = []

    def adapt(self) -> None:
        """Follow one optimizer step of the host's as a kept seed: learn, if it has an optimizer of its own."""
        # A kept seed is a part of the model: a gradient that is not finite is the run's trouble, and its loss tells.
        with suppress(SeedFault):
            self.seed.descend()

    def visit(self, crossing: Crossing) -> Tensor | None:
        """Answer one pass through the site: None leaves the host's output the very same tensor."""
        try:
            if crossing.host is None:
                raise SeedFault("no_input", crossing.problem)
            self.follow(crossing.host.device)
            if torch.is_grad_enabled():
                self._scale = self._loss_scale()
            if self._override is not None:
                return self._blended(crossing.entry, crossing.host, self._override)
            if self.stage == Stage.SEED_STAGE_TRAINING:
                self._incubator.collect(crossing, self._scale)
            elif self.stage == Stage.SEED_STAGE_SHADOWING:
                self._probe(crossing.entry, crossing.host)
            else:
                return self._blended(crossing.entry, crossing.host, self._alpha)
        except SeedFault as fault:
            if self._override is None:
                self.facts.meter.fault(fault, certain=True)
        return None

    def step(self, steps_done: int, claims: list[Tensor], objective: Lesson | None = None) -> None:
        """Follow one optimizer step of the host's: learn, from *objective* if there is one, and move alpha."""
        # The scaler lowers its scale when it has skipped a step, because a gradient was too large for the dtype.
        skipped = self._loss_scale() < self._scale
        try:
            with self._witnessed(due=self._incubator.waits), self.seed.pace.step():
                felt = self._learn(claims, objective, skipped=skipped)
            if hooked := self.seed.registered.on(self._model):
                self.facts.meter.found_violations(len(hooked))
                raise SeedFault("leaky", f"put a hook on {told(hooked)}")
            if felt is not None:
                self.facts.meter.pulse.beat(felt=felt)
            if kept := self.seed.retention.leaking():
                raise SeedFault("leaking", kept)
        except SeedFault as fault:
            # Lessons are finite, so that a seed learning by itself has nobody else to blame. A gradient that came
            # through the host's own backward pass may be the host's trouble: it is counted, and the gates ask for it.
            self.facts.meter.fault(fault, certain=self.stage == Stage.SEED_STAGE_TRAINING)
        self._seen = self._asked = False
        self.facts.steps_done = steps_done
        if self.facts.ramp is not None and self.stage == Stage.SEED_STAGE_BLENDING:
            self.set_alpha(self.facts.ramp.at(steps_done))

    def _learn(self, claims: list[Tensor], objective: Lesson | None, *, skipped: bool) -> bool | None:
        """Return whether what was asked of the seed reached its parameters; None if nothing was asked."""
        if self.stage == Stage.SEED_STAGE_TRAINING:
            inspect = self._prove if self.facts.proof_due else None
            return self._incubator.step(
                self.seed, claims, inspect, None if objective is None else partial(objective, self)
            )
        if self.stage == Stage.SEED_STAGE_SHADOWING or skipped:
            self.seed.drop_gradients()
            return None
        if self.seed.descend(self._scale):
            return True
        # The first step without a gradient counts as asked: from the next one on it is known.
        asked = self._asked or (self._seen and self.facts.meter.pulse.idle_steps == 0 and self.alpha > 0.0)
        return False if asked and self.seed.optimizer is not None else None

    def keep_pace(self, host_seconds: float | None, ratio: float, allowance_s: float) -> None:
        """Take note of how long the host's last step took. A seed that holds the training up has failed."""
        self.seed.pace.stepped(host_seconds)
        if slow := self.seed.pace.slow(ratio, allowance_s):
            self.facts.meter.fault(SeedFault("slow", slow), certain=True)

    def new_epoch(self) -> None:
        """Begin an epoch's measurements; prove the isolation again."""
        self.seed.drop_gradients()
        self._incubator.new_epoch()
        self.facts.meter.new_epoch()
        self.facts.meter.found_violations(shared_parameters(self.seed.module, self._model))
        self.facts.proof_due = self.facts.witness_due = True

    def measured(self) -> dict[str, float]:
        """Return the gate inputs that are known, by name."""
        found = self.facts.meter.evidence()
        if self.stage == Stage.SEED_STAGE_TRAINING:
            found["weights_moved"] = float(self.seed.digest() != self.facts.birth_digest)
            promise = self._incubator.promise()
            if promise is not None:
                found["r_squared"] = promise.r_squared
                found["predicted_loss_decrease"] = promise.predicted_loss_decrease
        else:
            ramp = self.facts.ramp
            found["alpha_error"] = 0.0 if ramp is None else abs(self.alpha - ramp.target)
            found["ramp_complete"] = float(ramp is None or ramp.completed(self.facts.steps_done))
        return found

    @contextmanager
    def override_alpha(self, alpha: float) -> Generator[None]:
        """Behave as if blended in at *alpha*, in every stage; nothing of the seed is moved by it."""
        module, draws, training = self.seed.module, self.seed.draws.tensors(), self.seed.module.training
        buffers = [(buffer, buffer.clone()) for buffer in module.buffers()]
        before, self._override = self._override, torch.full_like(self._alpha, alpha)
        try:
            yield
        finally:
            self._override = before
            self.seed.draws.restore(draws)
            module.train(training)
            with torch.no_grad():
                for buffer, value in buffers:
                    buffer.copy_(value)

    @contextmanager
    def let_in(self) -> Generator[None]:
        """Act at alpha 1 inside, on a pass that is the seed's own lesson: its random draws go on."""
        before, self._override = self._override, torch.ones_like(self._alpha)
        try:
            yield
        finally:
            self._override = before

    def _blended(self, entry: Tensor | None, host: Tensor, alpha: Tensor) -> Tensor:
        if entry is None:
            raise SeedFault("no_input", "the site's entry did not run before its exit")
        training = self._exit.training
        kept, live = self.stage == Stage.SEED_STAGE_FOSSILIZED, self._override is None

        def respond(read: Tensor) -> Tensor:
            with self._witnessed(due=live and not kept and self._in_a_batch()):
                return self.seed.respond(read, host, training=training)

        with self.seed.draws.again(entry):
            # A kept seed is a part of the model, and as free as any other.
            seed = respond(entry) if kept else self._feedback.between(entry, respond, self._scale, training=live)
        # A copy, because autograd keeps it for the backward pass and alpha itself moves in place.
        blended = self.seed.blend(host, seed, entry, alpha.to(host.device, copy=True))
        if not kept:
            sizes = Sizes.of(host, blended)
            if live and self._is_a_batch():
                self.facts.meter.saw(sizes)
                self._listen(blended)
        return blended

    def _listen(self, blended: Tensor) -> None:
        """Find out whether the host asks anything, if the seed has felt nothing in the last step."""

        def hear(gradient: Tensor) -> None:
            self._asked = self._asked or bool(gradient.any())

        if self.facts.meter.pulse.idle_steps and blended.requires_grad and self.alpha > 0.0:
            blended.register_hook(hear)

    def _probe(self, entry: Tensor | None, host: Tensor) -> None:
        if not self._is_a_batch():
            return
        finite = True
        try:
            with torch.no_grad(), self._witnessed(due=True):
                read = None if entry is None else entry.clone()
                seed = self.seed.respond(read, host, training=False)
                self.facts.meter.saw(Sizes.of(host, self.seed.blend(host, seed, read, self._alpha)))
        except SeedFault as fault:
            if fault.kind not in ("non_finite", "too_large"):
                raise
            finite = False
            self.facts.meter.fault(fault, certain=True)
        self.facts.meter.probed(finite=finite)

    @contextmanager
    def _witnessed(self, *, due: bool) -> Generator[None]:
        """Compare the host before and after the code inside, once in an epoch and a stage.

        Raises:
            SeedFault: the host has changed.
        """
        if not (due and self.facts.witness_due):
            yield
            return
        witness = Witness(self._model)
        yield
        self.facts.witness_due = False
        changed = witness.changed()
        self.facts.meter.compared(len(changed))
        if changed:
            raise SeedFault("leaky", f"its code changed {told(changed)}")

    def _in_a_batch(self) -> bool:
        """Tell whether this is a training pass, and not the second time that a checkpointed segment runs."""
        return torch.is_grad_enabled() and not (in_backward() and self._seen)

    def _is_a_batch(self) -> bool:
        """Tell whether this is a training pass that counts, and count it."""
        if not self._in_a_batch():
            return False
        self._seen = self._seen or not in_backward()
        return True

    def _prove(self, loss: Tensor) -> None:
        self.facts.meter.found_violations(len(strangers(loss, self.seed.parameters)))
        self.facts.proof_due = False


def group_name(seed_id: str) -> str:
    """Return what a seed's own group of parameters is called in its optimizer."""
    return f"seed:{seed_id}"


def _feedback(meter: Meter) -> Feedback:
    # Not a method: a seed that refers to itself would stay in memory after it was removed.
    def blame(fault: SeedFault, certain: bool) -> None:
        meter.fault(fault, certain=certain)

    return Feedback(meter.agreement, blame)


def facts_later(facts: Mapping[str, Any], steps: int) -> dict[str, Any]:
    """Return the facts that a slot's `state` gave, on a clock that has gone on by *steps*."""
    return msgspec.to_builtins(msgspec.convert(facts, SeedFacts).later(steps))


def planted_in(model: nn.Module) -> dict[str, PlantedSeed]:
    """Return the seeds that are planted in *model*, by seed id."""
    return model.__dict__.setdefault(PLANTED, {})


def home(exit_: nn.Module, model: nn.Module) -> torch.device:
    """Return where a seed at *exit_* lives until an activation shows where that is: with the nearest weights."""
    for tensor in (*exit_.parameters(), *exit_.buffers(), *model.parameters()):
        if tensor.device.type != "meta":
            return tensor.device
    return torch.device("cpu")
