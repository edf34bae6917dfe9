"""What may happen to one seed in its slot, and what each happening means.

UNKNOWN ─T1→ DORMANT ─T2 G0→ GERMINATED ─T3 G1→ TRAINING ─T4 G2→ BLENDING ─T5 G3→ SHADOWING ─T6 G4→ PROBATIONARY
               ↑  └─T13→ TERMINATED ←T13─ FOSSILIZED ←T7 G4 "fossilize"────────────────────────────────┘
               └T12 G5─ RESETTING ←T11─ EMBARGOED ←T10─ CULLED ←T9─ any stage from GERMINATED to PROBATIONARY
T8: SHADOWING or PROBATIONARY back to BLENDING; in BLENDING, another target once alpha holds.
"""

from collections.abc import Mapping
from typing import assert_never

import msgspec
from msgspec.structs import replace

from esper.kasmina.rules.alpha import Ramp
from esper.kasmina.rules.blend import curve_misfit, misfit
from esper.kasmina.rules.gates import FOSSILIZE, STRICT, GateLimits, evaluate, shortfall
from esper.kasmina.rules.language import SeedCommand, SeedEvent
from esper.leyline.decider import Decider, RuleBroken
from esper.leyline.v1.enums_pb2 import AfterBlending, AlphaCurve, BlendMode, CullInitiator
from esper.leyline.v1.enums_pb2 import SeedLifecycleGate as Gate
from esper.leyline.v1.enums_pb2 import SeedLifecycleStage as Stage
from esper.leyline.v1.seed_pb2 import (
    AlphaRampCompleted,
    AlphaRampPaused,
    AttachKernel,
    BeginBlending,
    BeginProbation,
    BeginReset,
    BeginShadowing,
    CompleteRamp,
    CullSeed,
    EmbargoSlot,
    FossilizeSeed,
    GateEvaluated,
    GerminateSeed,
    KernelAttached,
    KernelAttachFailed,
    PauseRamp,
    RebaseSeed,
    RefuseKernel,
    RefuseSeedCommand,
    RegisterSlot,
    ReopenSlot,
    RetargetAlpha,
    SeedBlendingStarted,
    SeedCommandRefused,
    SeedCulled,
    SeedFossilized,
    SeedGerminated,
    SeedProbationStarted,
    SeedRebased,
    SeedShadowingStarted,
    SeedTrainingStarted,
    SlotEmbargoed,
    SlotRegistered,
    SlotReopened,
    SlotResetStarted,
    SlotState,
    SlotTerminated,
    TerminateSlot,
)
from esper.leyline.v1.site_pb2 import BlendOptions, Moment, Site, SiteShape


class Seed(msgspec.Struct, frozen=True):
    """A slot and the seed in it, folded from the slot's stream."""

    stage: Stage = Stage.SEED_STAGE_UNKNOWN
    site: Site | None = None
    shape: SiteShape | None = None
    generation: int = 0
    blueprint_id: str = ""
    parameters: dict[str, float] = {}
    blend_mode: BlendMode = BlendMode.BLEND_MODE_UNKNOWN
    blend: BlendOptions | None = None
    after_blending: AfterBlending = AfterBlending.AFTER_BLENDING_UNSPECIFIED
    init_seed: int = 0
    kernel_key: str = ""
    kernel_id: str = ""
    parameter_count: int = 0
    since_step: int = 0
    since_epoch: int = 0
    germinated_epoch: int = 0
    ramp: Ramp | None = None
    ramp_completed: bool = False
    ramp_paused: bool = False
    contribution: float | None = None
    embargo_until_epoch: int = 0
    cull_reason: str = ""
    version: int = 0
    # Set by a rollback: the timeline that it began and when, and the highest generation that it abandoned.
    timeline: int = 0
    rebased_at: tuple[int, int] = (0, 0)
    abandoned_generation: int = 0

    @property
    def next_generation(self) -> int:
        """The number of the next seed in this slot: no two lives share one, not even across timelines."""
        return max(self.generation, self.abandoned_generation) + 1

    @property
    def alive(self) -> bool:
        """Whether a seed lives in the slot and can still be removed."""
        return self.stage in CULLABLE

    @property
    def alpha_holds(self) -> bool:
        """Whether alpha rests, so that it may be given another target."""
        resting = self.stage in (Stage.SEED_STAGE_SHADOWING, Stage.SEED_STAGE_PROBATIONARY)
        return resting or (self.stage == Stage.SEED_STAGE_BLENDING and (self.ramp_completed or self.ramp_paused))


CULLABLE = frozenset(
    {
        Stage.SEED_STAGE_GERMINATED,
        Stage.SEED_STAGE_TRAINING,
        Stage.SEED_STAGE_BLENDING,
        Stage.SEED_STAGE_SHADOWING,
        Stage.SEED_STAGE_PROBATIONARY,
    }
)


class SeedRuleBroken(RuleBroken):
    """The seed's stage or the moment forbids the command; nothing happened."""

    def __init__(self, stage: Stage, command: SeedCommand, why: str = "") -> None:
        self.stage, self.command = stage, command
        name = Stage.Name(stage).removeprefix("SEED_STAGE_").lower()
        super().__init__(f"a {name} seed cannot {type(command).__name__}" + (f": {why}" if why else ""))


def seed_rules(limits: GateLimits) -> Decider[Seed, SeedCommand, SeedEvent]:
    """Return the seed's rules with gates that use *limits*."""

    def decide(seed: Seed, command: SeedCommand) -> list[SeedEvent]:
        return _decide(seed, command, limits)

    return Decider(name="seed", initial=Seed(), decide=decide, evolve=evolve)


def _decide(seed: Seed, command: SeedCommand, limits: GateLimits) -> list[SeedEvent]:
    """Answer *command* with the events it causes; raise `SeedRuleBroken` if the seed's stage forbids it."""
    _refuse_stale(seed, command)
    _refuse_unless_later(seed, command)
    match command:
        case GerminateSeed() if seed.stage == Stage.SEED_STAGE_DORMANT:
            return _germinate(seed, command, limits)
        case AttachKernel() if seed.stage == Stage.SEED_STAGE_GERMINATED:
            return _attach(seed, command, limits)
        case RefuseKernel() if seed.stage == Stage.SEED_STAGE_GERMINATED:
            return [
                KernelAttachFailed(
                    at=command.at, kernel_id=command.kernel_id, reason=command.reason, detail=command.detail
                ),
                _culled(seed, command.at, f"kernel refused: {command.reason}", CullInitiator.CULL_INITIATOR_GATE),
            ]
        case BeginBlending() if seed.stage == Stage.SEED_STAGE_TRAINING:
            _refuse_unfit_ramp(seed, command)
            started = SeedBlendingStarted(
                at=command.at,
                alpha_from=0.0,
                alpha_target=command.alpha_target,
                curve=command.curve,
                ramp_steps=command.ramp_steps,
            )
            return _gated(seed, Gate.SEED_GATE_G2_STABILITY, command.evidence, command.at, limits, started)
        case CompleteRamp() | PauseRamp() if seed.stage == Stage.SEED_STAGE_BLENDING and not seed.alpha_holds:
            return _rest(seed, command)
        case BeginShadowing() if seed.stage == Stage.SEED_STAGE_BLENDING and seed.ramp_completed:
            started = SeedShadowingStarted(at=command.at)
            return _gated(seed, Gate.SEED_GATE_G3_INTERFACE, command.evidence, command.at, limits, started)
        case BeginProbation() if seed.stage == Stage.SEED_STAGE_SHADOWING:
            started = SeedProbationStarted(at=command.at)
            return _gated(seed, Gate.SEED_GATE_G4_SYSTEM_IMPACT, command.evidence, command.at, limits, started)
        case RetargetAlpha() if seed.alpha_holds:
            return _retarget(seed, command)
        case FossilizeSeed() if seed.stage == Stage.SEED_STAGE_PROBATIONARY:
            return _fossilize(command, limits)
        case CullSeed() if seed.stage == Stage.SEED_STAGE_CULLED:
            return []
        case CullSeed() if seed.stage in CULLABLE:
            return [_culled(seed, command.at, command.reason, command.initiator)]
        case _:
            return _decide_for_slot(seed, command, limits)


def _decide_for_slot(seed: Seed, command: SeedCommand, limits: GateLimits) -> list[SeedEvent]:
    """Answer the commands that concern the slot rather than a living seed in it."""
    match command:
        case RegisterSlot() if seed.stage == Stage.SEED_STAGE_UNKNOWN:
            return [SlotRegistered(site=command.site)]
        case EmbargoSlot() if seed.stage == Stage.SEED_STAGE_CULLED:
            return [SlotEmbargoed(at=command.at, until_epoch=command.until_epoch)]
        case BeginReset() if seed.stage == Stage.SEED_STAGE_EMBARGOED:
            if command.at.epoch < seed.embargo_until_epoch:
                raise SeedRuleBroken(seed.stage, command, f"the embargo lasts until epoch {seed.embargo_until_epoch}")
            return [SlotResetStarted(at=command.at)]
        case ReopenSlot() if seed.stage == Stage.SEED_STAGE_RESETTING:
            verdict = evaluate(Gate.SEED_GATE_G5_RESET, command.evidence, command.at, limits)
            return [verdict, SlotReopened(at=command.at)] if verdict.passed else [verdict]
        case TerminateSlot() if seed.stage in (Stage.SEED_STAGE_DORMANT, Stage.SEED_STAGE_FOSSILIZED):
            return [SlotTerminated(at=command.at)]
        case RefuseSeedCommand():
            return [SeedCommandRefused(at=command.at, command_type=command.command_type, reason=command.reason)]
        case RebaseSeed() if command.timeline > seed.timeline:
            return _rebase(command)
        case _:
            raise SeedRuleBroken(seed.stage, command)


def _refuse_stale(seed: Seed, command: SeedCommand) -> None:
    """What was asked for before a rollback was asked of a seed that is no more."""
    if isinstance(command, RegisterSlot | RefuseSeedCommand):
        return
    if (command.at.step, command.at.epoch) < seed.rebased_at:
        raise SeedRuleBroken(
            seed.stage,
            command,
            f"it was decided for step {command.at.step}, before the rollback that began timeline {seed.timeline}",
        )


def _rebase(command: RebaseSeed) -> list[SeedEvent]:
    rebased = SeedRebased(
        at=command.at,
        timeline=command.timeline,
        checkpoint_id=command.checkpoint_id,
        to_version=command.to_version,
        state=command.state,
    )
    if not command.cull_reason:
        return [rebased]
    culled = SeedCulled(
        at=command.at,
        reason=command.cull_reason,
        initiator=CullInitiator.CULL_INITIATOR_RUNTIME,
        from_stage=command.state.stage,
    )
    return [rebased, culled]


def _refuse_unless_later(seed: Seed, command: SeedCommand) -> None:
    """A seed that moved at a step must train at least one optimizer step before it moves again."""
    match command:
        case (
            AttachKernel() | BeginBlending() | BeginShadowing() | BeginProbation() | RetargetAlpha() | FossilizeSeed()
        ) if seed.alive and command.at.step <= seed.since_step:
            raise SeedRuleBroken(seed.stage, command, f"no optimizer step was done since step {seed.since_step}")
        case _:
            return


def _germinate(seed: Seed, command: GerminateSeed, limits: GateLimits) -> list[SeedEvent]:
    if command.HasField("blend") and (why := misfit(command.blend_mode, command.blend, command.shape)):
        raise SeedRuleBroken(seed.stage, command, why)
    verdict = evaluate(Gate.SEED_GATE_G0_SANITY, command.evidence, command.at, limits)
    if not verdict.passed:
        return [verdict]
    germinated = SeedGerminated(
        at=command.at,
        blueprint_id=command.blueprint_id,
        parameters=command.parameters,
        blend_mode=command.blend_mode,
        shape=command.shape,
        init_seed=command.init_seed,
        kernel_key=command.kernel_key,
        generation=seed.next_generation,
        blend=command.blend if command.HasField("blend") else None,
        after_blending=command.after_blending,
    )
    return [verdict, germinated]


def _attach(seed: Seed, command: AttachKernel, limits: GateLimits) -> list[SeedEvent]:
    verdict = evaluate(Gate.SEED_GATE_G1_GRADIENT_HEALTH, command.evidence, command.at, limits)
    if not verdict.passed:
        return [verdict, _failed_gate(seed, verdict)]
    attached = KernelAttached(
        at=command.at,
        kernel_id=command.kernel_id,
        weights_sha256=command.weights_sha256,
        parameter_count=command.parameter_count,
    )
    return [verdict, attached, SeedTrainingStarted(at=command.at)]


def _gated(
    seed: Seed,
    gate: Gate,
    evidence: Mapping[str, float],
    at: Moment,
    limits: GateLimits,
    started: SeedBlendingStarted | SeedShadowingStarted | SeedProbationStarted,
) -> list[SeedEvent]:
    verdict = evaluate(gate, evidence, at, limits, STRICT)
    return [verdict, started if verdict.passed else _failed_gate(seed, verdict)]


def _refuse_unfit_ramp(seed: Seed, command: BeginBlending | RetargetAlpha) -> None:
    if not 0.0 < command.alpha_target <= 1.0 or command.ramp_steps < 1:
        why = "alpha_target must lie in (0, 1] and ramp_steps be >= 1; to end at 0, cull the seed"
        raise SeedRuleBroken(seed.stage, command, why)
    if why := curve_misfit(seed.blend_mode, command.curve):
        raise SeedRuleBroken(seed.stage, command, why)


def _rest(seed: Seed, command: CompleteRamp | PauseRamp) -> list[SeedEvent]:
    if seed.ramp is None:
        raise SeedRuleBroken(seed.stage, command, "alpha is on no ramp")
    match command:
        case PauseRamp():
            return [AlphaRampPaused(at=command.at, alpha=seed.ramp.at(command.at.step))]
        case CompleteRamp() if seed.ramp.completed(command.at.step):
            return [AlphaRampCompleted(at=command.at, alpha=seed.ramp.target)]
        case CompleteRamp():
            raise SeedRuleBroken(seed.stage, command, "alpha has not reached its target")


def _retarget(seed: Seed, command: RetargetAlpha) -> list[SeedEvent]:
    _refuse_unfit_ramp(seed, command)
    return [
        SeedBlendingStarted(
            at=command.at,
            alpha_from=seed.ramp.target if seed.ramp else 0.0,
            alpha_target=command.alpha_target,
            curve=command.curve,
            ramp_steps=command.ramp_steps,
        )
    ]


def _fossilize(command: FossilizeSeed, limits: GateLimits) -> list[SeedEvent]:
    """A seed that fails the last gate stays on probation: only a cull removes it."""
    verdict = evaluate(Gate.SEED_GATE_G4_SYSTEM_IMPACT, command.evidence, command.at, limits, FOSSILIZE)
    if not verdict.passed:
        return [verdict]
    return [verdict, SeedFossilized(at=command.at, contribution=command.evidence["contribution"])]


def _culled(seed: Seed, at: Moment, reason: str, initiator: CullInitiator) -> SeedCulled:
    return SeedCulled(at=at, reason=reason, initiator=initiator, from_stage=seed.stage)


def _failed_gate(seed: Seed, verdict: GateEvaluated) -> SeedCulled:
    gate = Gate.Name(verdict.gate).split("_")[2]
    return _culled(seed, verdict.at, f"gate {gate}: {shortfall(verdict)}", CullInitiator.CULL_INITIATOR_GATE)


def evolve(seed: Seed, event: SeedEvent) -> Seed:
    """Fold one recorded fact into *seed*. Total: history is never refused."""
    seed = replace(seed, version=seed.version + 1)
    match event:
        case SlotRegistered():
            return replace(seed, stage=Stage.SEED_STAGE_DORMANT, site=event.site)
        case SeedGerminated():
            return _planted(seed, event)
        case KernelAttached():
            return replace(seed, kernel_id=event.kernel_id, parameter_count=event.parameter_count)
        case SeedTrainingStarted():
            return _moved(seed, Stage.SEED_STAGE_TRAINING, event.at)
        case SeedBlendingStarted():
            ramp = Ramp(event.at.step, event.ramp_steps, event.alpha_from, event.alpha_target, event.curve)
            resting = {"ramp_completed": False, "ramp_paused": False}
            return _moved(seed, Stage.SEED_STAGE_BLENDING, event.at, ramp=ramp, **resting)
        case AlphaRampCompleted():
            return replace(seed, ramp_completed=True)
        case AlphaRampPaused():
            held = Ramp(event.at.step, 0, event.alpha, event.alpha, AlphaCurve.ALPHA_CURVE_LINEAR)
            return replace(seed, ramp=held, ramp_paused=True)
        case SeedShadowingStarted():
            return _moved(seed, Stage.SEED_STAGE_SHADOWING, event.at)
        case SeedProbationStarted():
            return _moved(seed, Stage.SEED_STAGE_PROBATIONARY, event.at)
        case SeedFossilized():
            return _moved(seed, Stage.SEED_STAGE_FOSSILIZED, event.at, contribution=event.contribution)
        case SeedCulled():
            return _moved(seed, Stage.SEED_STAGE_CULLED, event.at, cull_reason=event.reason, ramp=None)
        case SlotEmbargoed():
            return _moved(seed, Stage.SEED_STAGE_EMBARGOED, event.at, embargo_until_epoch=event.until_epoch)
        case SlotResetStarted():
            return _moved(seed, Stage.SEED_STAGE_RESETTING, event.at)
        case SlotReopened():
            return _moved(seed, Stage.SEED_STAGE_DORMANT, event.at)
        case SlotTerminated():
            return _moved(seed, Stage.SEED_STAGE_TERMINATED, event.at)
        case SeedRebased():
            return _rebased(seed, event)
        case GateEvaluated() | KernelAttachFailed() | SeedCommandRefused():
            return seed
        case _:
            assert_never(event)


def _planted(seed: Seed, event: SeedGerminated) -> Seed:
    return _moved(
        _emptied(seed),
        Stage.SEED_STAGE_GERMINATED,
        event.at,
        generation=event.generation,
        blueprint_id=event.blueprint_id,
        parameters=dict(event.parameters),
        blend_mode=event.blend_mode,
        blend=event.blend if event.HasField("blend") else None,
        after_blending=event.after_blending,
        shape=event.shape,
        init_seed=event.init_seed,
        kernel_key=event.kernel_key,
        germinated_epoch=event.at.epoch,
    )


def _emptied(seed: Seed) -> Seed:
    """Return the slot without its seed; what only the slot knows stays."""
    return Seed(
        site=seed.site,
        version=seed.version,
        timeline=seed.timeline,
        rebased_at=seed.rebased_at,
        abandoned_generation=seed.abandoned_generation,
    )


def _rebased(seed: Seed, event: SeedRebased) -> Seed:
    return replace(
        seed_as(event.state, _emptied(seed)),
        timeline=event.timeline,
        rebased_at=(event.at.step, event.at.epoch),
        abandoned_generation=max(seed.generation, seed.abandoned_generation),
    )


def seed_as(state: SlotState, slot: Seed) -> Seed:
    """Return *slot* with the seed that *state* describes in it."""
    ramp = state.ramp
    return replace(
        slot,
        stage=state.stage,
        shape=state.shape if state.HasField("shape") else None,
        generation=state.generation,
        blueprint_id=state.blueprint_id,
        parameters=dict(state.parameters),
        blend_mode=state.blend_mode,
        init_seed=state.init_seed,
        kernel_key=state.kernel_key,
        kernel_id=state.kernel_id,
        parameter_count=state.parameter_count,
        since_step=state.since_step,
        since_epoch=state.since_epoch,
        germinated_epoch=state.germinated_epoch,
        ramp=Ramp(ramp.start_step, ramp.total_steps, ramp.start, ramp.target, ramp.curve)
        if state.HasField("ramp")
        else None,
        ramp_completed=state.ramp_completed,
        ramp_paused=state.ramp_paused,
        blend=state.blend if state.HasField("blend") else None,
        after_blending=state.after_blending,
        contribution=state.contribution if state.HasField("contribution") else None,
        embargo_until_epoch=state.embargo_until_epoch,
        cull_reason=state.cull_reason,
    )


def _moved(seed: Seed, stage: Stage, at: Moment, **facts: object) -> Seed:
    return replace(seed, stage=stage, since_step=at.step, since_epoch=at.epoch, **facts)


SEED = seed_rules(GateLimits())
