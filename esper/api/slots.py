"""Driving a growth slot by hand, with the same commands that Tamiyo sends."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import Any, TypeAlias

import msgspec
import torch

from actors.changes import Instant
from actors.trainer import Answer
from esper.api.fences import Due, Fences
from esper.api.growth import Growth
from esper.karn.catalogue import descriptor
from esper.karn.counting import parameter_count
from esper.karn.errors import ShapeUnsupported
from esper.karn.parameters import effective_parameters
from esper.kasmina.rules.blend import options
from esper.kasmina.rules.seed import Seed, SeedCommand
from esper.kasmina.slot import Slot
from esper.leyline.canonical import kernel_key
from esper.leyline.v1.enums_pb2 import AfterBlending, AlphaCurve, BlendMode, CullInitiator
from esper.leyline.v1.enums_pb2 import SeedLifecycleStage as Stage
from esper.leyline.v1.kernel_pb2 import KernelSpec
from esper.leyline.v1.seed_pb2 import (
    BeginBlending,
    BeginShadowing,
    CullSeed,
    FossilizeSeed,
    GateEvaluated,
    GerminateSeed,
    PauseRamp,
    RetargetAlpha,
    SeedCulled,
)
from esper.leyline.v1.site_pb2 import BlendOptions, Moment, SiteShape

CONFIDENCE_NUMBERS = ("steepness", "threshold", "lowest", "highest")


class Accepted(msgspec.Struct, frozen=True):
    """The command was recorded at *position* and is true in the model."""

    position: int


class Rejected(msgspec.Struct, frozen=True):
    """The command changed nothing, or was answered by a failed gate; *failed_checks* names the gate's inputs."""

    reason: str
    failed_checks: tuple[str, ...] = ()


Outcome: TypeAlias = Accepted | Rejected


class SlotHandle:
    """One growth slot of a session. Call it between optimizer steps, from the thread that trains.

    Commands raise `SessionClosed` after the session's `with` block.
    """

    def __init__(self, seed_id: str, slot: Slot, growth: Growth, fences: Fences, moment: Callable[[], Moment]) -> None:
        self.seed_id = seed_id
        self._slot, self._growth, self._fences, self._moment = slot, growth, fences, moment
        self._asked_at, self._asked = Instant(0, 0), 0

    @property
    def seed(self) -> Seed:
        """The slot's state, folded from its events."""
        return self._growth.seeds[self.seed_id]

    @property
    def stage(self) -> str:
        """The stage in one word: "dormant", "training", ..."""
        return Stage.Name(self.seed.stage).removeprefix("SEED_STAGE_").lower()

    def germinate(
        self,
        blueprint_id: str,
        *,
        init_seed: int = 0,
        mode: str = "",
        blend: Mapping[str, float | Sequence[float]] = MappingProxyType({}),
        after_blending: str = "",
        **parameters: float,
    ) -> Outcome:
        """Germinate *blueprint_id* here; its kernel is asked for at once and attached after the next step.

        The site must have been seen: `session.observe(batch)` shows every site one batch. *mode* is how the seed's
        output joins: "convex", "residual", "channel", "confidence", "multiply" or "gate"; without one, as the blueprint
        has it. *blend* are the mode's numbers: `channel_shares`, or `steepness`, `threshold`, `lowest`, `highest`.
        *after_blending* is "share", "coadapt" or "freeze"; without one, as the settings have it.

        Raises:
            BlueprintRefused: no such blueprint (an id may name its version, "BP021@1.0.0"), a parameter outside its
                bounds, an adversarial one, or an own one whose builder fails here.
            ValueError: no such mode or policy, or a number that the mode does not have.
        """
        described = descriptor(blueprint_id)
        blueprint_id = described.blueprint_id
        chosen = effective_parameters(blueprint_id, parameters)
        shape, growth = self._slot.shape, self._growth
        policy = _named(AfterBlending, "AFTER_BLENDING_", after_blending) if after_blending else growth.after_blending
        if why := growth.unfit(policy):
            return Rejected(why)
        if self.seed_id in self._growth.unusable:
            return Rejected(f"this site cannot carry a seed: {self._growth.unusable[self.seed_id]}", ("shape_known",))
        if shape is None:
            return Rejected(
                "nothing is known of what flows here: train one step, or call session.observe(batch)", ("shape_known",)
            )
        # Here, because an own blueprint is built to be counted, in no other thread; gate G0 tells of a shape.
        with suppress(ShapeUnsupported):
            parameter_count(blueprint_id, chosen, shape)
        spec = KernelSpec(
            blueprint_id=blueprint_id,
            blueprint_version=described.version,
            parameters=chosen,
            shape=shape,
            init_seed=init_seed,
            torch_version=torch.__version__,
        )
        return self._ask(
            GerminateSeed(
                at=self._moment(),
                blueprint_id=blueprint_id,
                parameters=chosen,
                blend_mode=_mode(mode) if mode else described.blend_mode,
                blend=_options(mode, blend, described.blend_mode, shape) if mode else None,
                shape=shape,
                init_seed=init_seed,
                kernel_key=kernel_key(spec),
                after_blending=policy,
                evidence={"live_seeds": float(len(self._growth.alive))},
            )
        )

    def blend(self, evidence: Mapping[str, float], *, alpha: float = 1.0, steps: int = 100, curve: str = "") -> Outcome:
        """Let the seed in: ramp alpha to *alpha* over *steps* optimizer steps, if gate G2 passes on *evidence*.

        *curve* is "linear", "cosine" or "sigmoid"; without one cosine, and linear for a seed with a gate.
        """
        along = self._curve(curve)
        return self._ask(
            BeginBlending(at=self._moment(), alpha_target=alpha, curve=along, ramp_steps=steps, evidence=evidence)
        )

    def set_alpha(self, alpha: float, *, steps: int = 100, curve: str = "") -> Outcome:
        """Move alpha to *alpha*, above 0 and at most 1, over *steps* optimizer steps, from where it rests.

        It rests while the seed is shadowed or on probation, which go back to blending, and once a ramp is complete or
        paused. To let a seed in for the first time use `blend`, to take it out `cull`.
        """
        along = self._curve(curve)
        return self._ask(RetargetAlpha(at=self._moment(), alpha_target=alpha, curve=along, ramp_steps=steps))

    def pause(self) -> Outcome:
        """Stop a ramp where alpha is; `set_alpha` goes on from there."""
        return self._ask(PauseRamp(at=self._moment()))

    def shadow(self, evidence: Mapping[str, float]) -> Outcome:
        """Switch the seed off for its shadow probes, if gate G3 passes on *evidence*."""
        return self._ask(BeginShadowing(at=self._moment(), evidence=evidence))

    def fossilize(self, evidence: Mapping[str, float]) -> Outcome:
        """Make the seed part of the model for good, if the last gate passes on *evidence*."""
        return self._ask(FossilizeSeed(at=self._moment(), evidence=evidence))

    def cull(self, reason: str = "asked for by hand") -> Outcome:
        """Remove the seed; the model's function is as it was before the seed came."""
        initiator = CullInitiator.CULL_INITIATOR_OPERATOR
        return self._ask(CullSeed(at=self._moment(), reason=reason, initiator=initiator))

    def measured(self) -> dict[str, float]:
        """Return the gate inputs that have been measured about the seed since its stage began."""
        return dict(self._slot.measured())

    def _curve(self, curve: str) -> AlphaCurve:
        if not curve:
            curve = "linear" if self.seed.blend_mode == BlendMode.BLEND_MODE_GATE else "cosine"
        return _named(AlphaCurve, "ALPHA_CURVE_", curve)

    def _ask(self, command: SeedCommand) -> Outcome:
        at = self._moment()
        # Counted per moment, so that a resumed run gives its commands the names that they had.
        self._asked = self._asked + 1 if self._asked_at == Instant.of(at) else 1
        self._asked_at = Instant.of(at)
        due = Due(command, f"hand/{at.step}/{at.epoch}/{self._asked}")
        answer = self._fences.change(self.seed_id, due, at, actor="operator")
        if answer is None and (pulled := self._fences.brake.pulled):
            return Rejected(f"growth is frozen: {pulled.reason}")
        if answer is None:
            return Rejected(f"the log did not answer: {self._fences.closed_because}")
        return _told(answer, self.stage)


def _mode(name: str) -> BlendMode:
    return _named(BlendMode, "BLEND_MODE_", name)


def _named(enum: Any, prefix: str, name: str) -> Any:
    names = [each.removeprefix(prefix).lower() for each in enum.keys()[1:]]
    if name not in names:
        raise ValueError(f"{name!r} is none of {', '.join(names)}")
    return enum.Value(prefix + name.upper())


def _options(
    mode: str, given: Mapping[str, float | Sequence[float]], natural: BlendMode, shape: SiteShape
) -> BlendOptions:
    chosen = options(_mode(mode), adds=natural == BlendMode.BLEND_MODE_RESIDUAL, shape=shape)
    for name, value in given.items():
        if name == "channel_shares" and isinstance(value, Sequence):
            del chosen.channel_shares[:]
            chosen.channel_shares.extend(value)
        elif name in CONFIDENCE_NUMBERS and not isinstance(value, Sequence):
            setattr(chosen, name, value)
        else:
            numbers = ", ".join(CONFIDENCE_NUMBERS)
            raise ValueError(f"blend has a list of channel_shares, or numbers called {numbers}: not {name}={value!r}")
    return chosen


def _told(answer: Answer, stage: str) -> Outcome:
    events = [recorded.event for recorded in answer.events]
    failed = [event for event in events if isinstance(event, GateEvaluated) and not event.passed]
    if failed:
        culled = [event.reason for event in events if isinstance(event, SeedCulled)]
        return Rejected(culled[0] if culled else "a gate failed", tuple(failed[0].checks_failed))
    if answer.refused or not events:
        return Rejected(answer.refused or f"there was nothing to do: the slot is {stage}")
    return Accepted(answer.events[-1].position)
