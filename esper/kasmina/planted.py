"""A seed at its place in a live model: what it does in each stage to what flows through the site."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, cast

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
from esper.kasmina.rules.alpha import Ramp
from esper.kasmina.tap import Crossing, Tap, in_backward
from esper.kasmina.window import LossScale
from esper.leyline.v1.enums_pb2 import AlphaCurve, BlendMode
from esper.leyline.v1.enums_pb2 import SeedLifecycleStage as Stage
from esper.leyline.v1.site_pb2 import BlendOptions, Site, SiteShape

SUBMODULE = "esper_"
# A plain attribute of the model, neither module nor parameter: the seeds planted in it, by seed id.
PLANTED = "_esper_planted"


class SeedFacts(msgspec.Struct):
    """What a planted seed knows beside its tensors; JSON-able."""

    stage: int = int(Stage.SEED_STAGE_DORMANT)
    blend_mode: int = int(BlendMode.BLEND_MODE_UNKNOWN)
    # The numbers of the mode, as hexadecimal Leyline bytes; empty where it has none.
    blend: str = ""
    init_seed: int = 0
    # The site's shape, as hexadecimal Leyline bytes; known before and after a seed, too.
    shape: str = ""
    alpha: float = 0.0
    # The fields of a `Ramp`: its protobuf enum is not a type that can be converted to.
    walk: tuple[int, int, float, float, int] | None = None
    steps_done: int = 0
    # The autograd graph of the next lesson is to be walked.
    proof_due: bool = True
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
    ) -> None:
        self.site, self.seed, self.facts = site, seed, facts
        self.tap: Tap | None = None
        self._loss_scale, self._scale = loss_scale, 1.0
        # A forward pass with gradients was seen since the last step: what backward passes recompute is no other batch.
        self._seen = False
        self._model = model
        self._exit = model.get_submodule(site.exit_module)
        self._incubator = Incubator(facts.site_shape().at_model_output, facts.progress)
        self._alpha = torch.tensor(facts.alpha, device=device)
        self._override: Tensor | None = None
        self._feedback = Feedback(facts.meter.agreement, self._blame)
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
        self.facts = facts
        self._incubator = Incubator(facts.site_shape().at_model_output, facts.progress)
        self.set_alpha(facts.alpha)
        self.seed.drop_gradients()

    def enter(self, stage: Stage, ramp: Ramp | None) -> None:
        """Begin *stage*, with its measurements."""
        self.facts.stage, self.facts.ramp, self.facts.proof_due = int(stage), ramp, True
        self.facts.meter = Meter(failed=self.facts.meter.failed)
        self._feedback = Feedback(self.facts.meter.agreement, self._blame)
        self.facts.meter.found_violations(shared_parameters(self.seed.module, self._model))

    def set_alpha(self, alpha: float) -> None:
        """Move alpha, without replacing its tensor."""
        self._alpha.fill_(alpha)

    def join(self, optimizer: Optimizer) -> None:
        """Become a part of the model, trained by *optimizer* from now on."""
        for name, part in self.parts().items():
            self.holder.add_module(name, part)
        adopt(optimizer, self.seed.parameters, self.seed.optimizer)
        self.seed.optimizer = None

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

    def step(self, steps_done: int, claims: list[Tensor]) -> None:
        """Follow one optimizer step of the host's: learn, and move alpha."""
        # The scaler lowers its scale when it has skipped a step, because a gradient was too large for the dtype.
        skipped = self._loss_scale() < self._scale
        try:
            with self.seed.pace.step():
                self._learn(claims, skipped=skipped)
            if kept := self.seed.retention.leaking():
                raise SeedFault("leaking", kept)
        except SeedFault as fault:
            # Lessons are finite, so that a seed learning by itself has nobody else to blame. A gradient that came
            # through the host's own backward pass may be the host's trouble: it is counted, and the gates ask for it.
            self.facts.meter.fault(fault, certain=self.stage == Stage.SEED_STAGE_TRAINING)
        self._seen = False
        self.facts.steps_done = steps_done
        if self.facts.ramp is not None and self.stage == Stage.SEED_STAGE_BLENDING:
            self.set_alpha(self.facts.ramp.at(steps_done))

    def _learn(self, claims: list[Tensor], *, skipped: bool) -> None:
        if self.stage == Stage.SEED_STAGE_TRAINING:
            self._incubator.step(self.seed, claims, self._prove if self.facts.proof_due else None)
        elif self.stage == Stage.SEED_STAGE_SHADOWING or skipped:
            self.seed.drop_gradients()
        else:
            self.seed.descend(self._scale)

    def keep_pace(self, host_seconds: float | None, ratio: float, allowance_s: float) -> None:
        """Take note of how long the host's last step took. A seed that holds the training up has failed."""
        self.seed.pace.stepped(host_seconds)
        if slow := self.seed.pace.slow(ratio, allowance_s):
            self.facts.meter.fault(SeedFault("slow", slow), certain=True)

    def _blame(self, fault: SeedFault, certain: bool) -> None:
        self.facts.meter.fault(fault, certain=certain)

    def new_epoch(self) -> None:
        """Begin an epoch's measurements; prove the isolation again."""
        self.seed.drop_gradients()
        self._incubator.new_epoch()
        self.facts.meter.new_epoch()
        self.facts.meter.found_violations(shared_parameters(self.seed.module, self._model))
        self.facts.proof_due = True

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

    def _blended(self, entry: Tensor | None, host: Tensor, alpha: Tensor) -> Tensor:
        if entry is None:
            raise SeedFault("no_input", "the site's entry did not run before its exit")
        training = self._exit.training
        kept, live = self.stage == Stage.SEED_STAGE_FOSSILIZED, self._override is None

        def respond(read: Tensor) -> Tensor:
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
        return blended

    def _probe(self, entry: Tensor | None, host: Tensor) -> None:
        if not self._is_a_batch():
            return
        finite = True
        try:
            with torch.no_grad():
                read = None if entry is None else entry.clone()
                seed = self.seed.respond(read, host, training=False)
                self.facts.meter.saw(Sizes.of(host, self.seed.blend(host, seed, read, self._alpha)))
        except SeedFault as fault:
            if fault.kind not in ("non_finite", "too_large"):
                raise
            finite = False
            self.facts.meter.fault(fault, certain=True)
        self.facts.meter.probed(finite=finite)

    def _is_a_batch(self) -> bool:
        """Tell whether this is a training pass, and not the second time that a checkpointed segment runs."""
        if not torch.is_grad_enabled():
            return False
        if in_backward():
            return not self._seen
        self._seen = True
        return True

    def _prove(self, loss: Tensor) -> None:
        self.facts.meter.found_violations(len(strangers(loss, self.seed.parameters)))
        self.facts.proof_due = False


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
