"""A small run, told in real Leyline events: one seed is kept, one is culled and its slot grows another."""

from collections.abc import Iterator, Mapping
from itertools import count

from google.protobuf.message import Message

from esper.kasmina.rules.gates import FOSSILIZE, STRICT, GateLimits, checks, evaluate
from esper.leyline.v1.blueprint_pb2 import BlueprintDescriptor, BlueprintRegistered
from esper.leyline.v1.enums_pb2 import (
    AlphaCurve,
    BlendMode,
    CompileStage,
    CullInitiator,
    DecisionAction,
    EngineVerdict,
    FieldReportOutcome,
    RollbackMode,
    RollbackTier,
    SeedLifecycleGate,
    SeedLifecycleStage,
)
from esper.leyline.v1.fabric_pb2 import DeadLetter, DeadLetterBuried, DeadLetterDropped
from esper.leyline.v1.job_pb2 import (
    CompileAttemptFailed,
    CompileAttemptStarted,
    CompiledKernel,
    CompileJobQueued,
    CompileStageCompleted,
    CompileStageTiming,
    KernelCompiled,
)
from esper.leyline.v1.kernel_pb2 import KernelRegistered, KernelRequested, KernelSpec
from esper.leyline.v1.policy_pb2 import DecisionMade, DecisionMissed, DecisionWithdrawn
from esper.leyline.v1.report_pb2 import FieldReportOpened, FieldReportWritten
from esper.leyline.v1.run_pb2 import (
    ChangeDeferred,
    EpochEnded,
    EpochFacts,
    EpochsSkipped,
    GrowthFrozen,
    GrowthThawed,
    KeptSeed,
    RollbackCompleted,
    RunFacts,
    RunFinished,
    RunRolledBack,
    RunStarted,
    RunSummary,
)
from esper.leyline.v1.seed_pb2 import (
    AlphaRampCompleted,
    GateEvaluated,
    KernelAttached,
    SeedBlendingStarted,
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
)
from esper.leyline.v1.site_pb2 import Moment, SeedObservation, Site, SitePressure
from eventstore.store import Appended, Context, EventStore, StreamName

KERNEL = "cd" * 32
STEPS = 10
START_NS = 1_760_000_000_000_000_000


class Telling:
    """Appends commit after commit of one run to a store, each with its cause."""

    def __init__(self, store: EventStore, run_id: str) -> None:
        self._store, self.run_id, self.kernel_key = store, run_id, run_id * 2
        self._versions: dict[StreamName, int] = {}
        self._numbers = count(1)

    async def tell(self, stream: StreamName, *events: Message, cause: str = "", actor: str = "tolaria") -> Appended:
        number = next(self._numbers)
        context = Context(
            command_id=f"{self.run_id[:16]}{number:016x}",
            command_type="Test",
            recorded_at_ns=START_NS + number * 1_000_000,
            actor=actor,
            causation_id=cause,
            correlation_id=self.run_id,
            run_id=self.run_id,
        )
        version = self._versions.get(stream, 0)
        appended = await self._store.append(stream, events, expected=version, context=context)
        self._versions[stream] = version + len(events)
        return appended

    async def run(self, *events: Message) -> str:
        """Tell of the run and return the last event's id."""
        return (await self.tell(StreamName("run", self.run_id), *events)).events[-1].event_id

    async def seed(self, seed_id: str, *events: Message, cause: str = "") -> str:
        """Tell of a slot and return the last event's id."""
        stream = StreamName("seed", f"{self.run_id}-{seed_id}")
        return (await self.tell(stream, *events, cause=cause, actor="kasmina")).events[-1].event_id

    async def decide(self, epoch: int, action: DecisionAction, seed_id: str, observation: str) -> str:
        """Tell of a decision upon *observation* and return its id."""
        decision = DecisionMade(
            at=at(epoch),
            action=action,
            seed_id=seed_id,
            blueprint_id="BP002",
            reason="the site asks for more",
            inputs={"predicted_loss_decrease": 0.2},
            thresholds={"predicted_loss_decrease": 0.1},
            policy_version="heuristic-1",
            observation_id=observation,
        )
        stream = StreamName("policy", self.run_id)
        return (await self.tell(stream, decision, cause=observation, actor="tamiyo")).events[0].event_id


def at(epoch: int) -> Moment:
    """Return the moment of an epoch's end."""
    return Moment(step=epoch * STEPS, epoch=epoch)


def passed(gate: SeedLifecycleGate, epoch: int, profile: str = STRICT) -> GateEvaluated:
    """Return a verdict whose every check holds."""
    limits = GateLimits()
    return verdict(
        gate, epoch, {c.input: _holding(c.relation, c.limit) for c in checks(gate, profile, limits)}, profile
    )


def verdict(gate: SeedLifecycleGate, epoch: int, measured: Mapping[str, float], profile: str = STRICT) -> GateEvaluated:
    """Return the real gate's verdict on *measured*."""
    return evaluate(gate, measured, at(epoch), GateLimits(), profile)


def epoch_ended(epoch: int, score: float, stages: Mapping[str, SeedLifecycleStage]) -> EpochEnded:
    """Return an epoch with one measured site per slot in *stages*."""
    return EpochEnded(
        facts=EpochFacts(
            at=at(epoch),
            steps=STEPS,
            train_loss=1.0 / epoch,
            score=score,
            metrics={"recall": score / 2},
            pressures=[SitePressure(seed_id=s, r_squared=0.3, predicted_loss_decrease=0.2) for s in stages],
            seeds=[
                SeedObservation(seed_id=s, stage=stage, alpha=0.5, measured={"gradient_cosine": -0.25})
                for s, stage in stages.items()
            ],
            model_parameters=1000,
            growing_parameters=64,
            step_seconds=0.01,
            overhead_seconds=0.001,
        )
    )


async def tell_library(telling: Telling) -> None:
    """One kernel: asked for, compiled at the second attempt, registered."""
    spec = KernelSpec(blueprint_id="BP002", blueprint_version="1", parameters={"rank": 4.0}, torch_version="2.13.0")
    descriptor = BlueprintDescriptor(blueprint_id="BP002", name="linear_projection", version="1", risk=0.1)
    await telling.tell(
        StreamName("blueprint", f"BP002-{telling.run_id}"), BlueprintRegistered(descriptor=descriptor), actor="urza"
    )
    kernel, job = StreamName("kernel", telling.kernel_key), StreamName("job", telling.kernel_key)
    asked = KernelRequested(spec=spec, request_id="q1", run_id=telling.run_id, seed_id="s0")
    requested = (await telling.tell(kernel, asked, actor="urza")).events[0].event_id
    await telling.tell(job, CompileJobQueued(spec=spec, requester="urza"), cause=requested, actor="tezzeret")
    await telling.tell(job, CompileAttemptStarted(forge_epoch=1, attempt=1, timeout_s=60), actor="tezzeret")
    await telling.tell(job, CompileAttemptFailed(attempt=1, reason="crash", detail="", will_retry=True))
    await telling.tell(job, CompileAttemptStarted(forge_epoch=2, attempt=2, timeout_s=60), actor="tezzeret")
    built = CompileStageTiming(stage=CompileStage.COMPILE_STAGE_BUILD, duration_ms=12.5)
    compiled = CompiledKernel(
        kernel_id=KERNEL, bytes=2048, verdict=EngineVerdict.ENGINE_VERDICT_EAGER, compile_ms=900.0, stages=[built]
    )
    stage = CompileStageCompleted(attempt=2, timing=built)
    done = await telling.tell(job, stage, KernelCompiled(attempt=2, kernel=compiled, spec=spec), actor="tezzeret")
    registered = KernelRegistered(
        kernel_id=KERNEL,
        job_id=telling.kernel_key,
        spec=spec,
        version="1.0.0",
        bytes=2048,
        verdict=EngineVerdict.ENGINE_VERDICT_EAGER,
        compile_ms=900.0,
        prewarm_p50_ms=0.5,
    )
    await telling.tell(kernel, registered, cause=done.events[-1].event_id, actor="urza")


async def tell_kept_seed(telling: Telling, observation: str) -> None:
    """The seed in s0 passes every gate and is fossilized in epoch 9; its blending has a field report."""
    decision = await telling.decide(1, DecisionAction.DECISION_ACTION_GERMINATE, "s0", observation)
    await telling.seed("s0", *germinated(telling.kernel_key, 1), cause=decision)
    await telling.seed("s0", *attached(2), SeedTrainingStarted(at=at(2)))
    blending = SeedBlendingStarted(
        at=at(4), alpha_target=1.0, curve=AlphaCurve.ALPHA_CURVE_COSINE, ramp_steps=2 * STEPS
    )
    decision = await telling.decide(4, DecisionAction.DECISION_ACTION_BLEND, "s0", observation)
    await telling.seed("s0", passed(SeedLifecycleGate.SEED_GATE_G2_STABILITY, 4), blending, cause=decision)
    await _report(telling, 4, 7)
    await telling.seed("s0", AlphaRampCompleted(at=at(6), alpha=1.0))
    g3, g4 = SeedLifecycleGate.SEED_GATE_G3_INTERFACE, SeedLifecycleGate.SEED_GATE_G4_SYSTEM_IMPACT
    await telling.seed("s0", passed(g3, 6), SeedShadowingStarted(at=at(6)))
    await telling.seed("s0", passed(g4, 7), SeedProbationStarted(at=at(7)))
    await telling.seed("s0", passed(g4, 9, FOSSILIZE), SeedFossilized(at=at(9), contribution=0.03))


async def tell_culled_seed(telling: Telling) -> None:
    """The seed in s1 fails G2 in epoch 5; from epoch 8 on another one lives there."""
    await telling.seed("s1", *germinated(telling.kernel_key, 2))
    await telling.seed("s1", *attached(3), SeedTrainingStarted(at=at(3)))
    culled = SeedCulled(
        at=at(5),
        reason="gate G2: probe_gain 0 (limit 0)",
        initiator=CullInitiator.CULL_INITIATOR_GATE,
        from_stage=SeedLifecycleStage.SEED_STAGE_TRAINING,
    )
    await telling.seed("s1", verdict(SeedLifecycleGate.SEED_GATE_G2_STABILITY, 5, {"probe_gain": 0.0}), culled)
    await telling.seed("s1", SlotEmbargoed(at=at(5), until_epoch=7))
    await telling.seed("s1", SlotResetStarted(at=at(7)))
    await telling.seed("s1", passed(SeedLifecycleGate.SEED_GATE_G5_RESET, 7), SlotReopened(at=at(7)))
    await telling.seed("s1", *germinated(telling.kernel_key, 8, generation=2))


def germinated(key: str, epoch: int, generation: int = 1) -> Iterator[Message]:
    """Yield the events of a germination."""
    yield passed(SeedLifecycleGate.SEED_GATE_G0_SANITY, epoch)
    yield SeedGerminated(
        at=at(epoch),
        blueprint_id="BP002",
        parameters={"rank": 4.0},
        blend_mode=BlendMode.BLEND_MODE_RESIDUAL,
        init_seed=2**64 - 1,
        kernel_key=key,
        generation=generation,
    )


def attached(epoch: int) -> Iterator[Message]:
    """Yield the events of a kernel's attachment."""
    yield passed(SeedLifecycleGate.SEED_GATE_G1_GRADIENT_HEALTH, epoch)
    yield KernelAttached(at=at(epoch), kernel_id=KERNEL, parameter_count=64)


async def tell_rollback(telling: Telling, abandoned: tuple[int, int], to_epoch: int) -> None:
    """The run goes back from its tenth epoch's end; a slot is what it was then."""
    rolled_back = RunRolledBack(
        at=at(10),
        checkpoint_id="k",
        to=at(to_epoch),
        mode=RollbackMode.ROLLBACK_MODE_RESTORE,
        reason="by hand",
        timeline=1,
        abandoned_from=abandoned[0],
        abandoned_until=abandoned[1],
    )
    cause = await telling.run(rolled_back)
    state = SlotState(stage=SeedLifecycleStage.SEED_STAGE_PROBATIONARY, generation=1, blueprint_id="BP002")
    if abandoned[1]:
        await telling.seed("s0", SeedRebased(at=at(10), timeline=1, checkpoint_id="k", state=state), cause=cause)
    tier = RollbackTier.ROLLBACK_TIER_FAST
    await telling.run(RollbackCompleted(at=at(10), timeline=1, tier=tier, seconds=0.004))


async def tell_interruptions(telling: Telling, observation: str) -> None:
    """One of each kind: a decision missed, one withdrawn, a change deferred, epochs skipped, a freeze and its end."""
    policy = StreamName("policy", telling.run_id)
    await telling.tell(policy, DecisionMissed(at=at(10), reason="no answer"), actor="tamiyo")
    decided = await telling.decide(10, DecisionAction.DECISION_ACTION_CULL, "s1", observation)
    withdrawn = DecisionWithdrawn(
        at=at(10), decision_id=decided, action=DecisionAction.DECISION_ACTION_CULL, seed_id="s1", reason="too late"
    )
    await telling.tell(policy, withdrawn, actor="tamiyo")
    await telling.run(ChangeDeferred(command_id="c", seed_id="s1", reason="late", decided_for=at(9), at=at(10)))
    await telling.run(GrowthFrozen(at=at(10), reason="a drill"))
    await telling.run(GrowthThawed(at=at(10), reason="it is over"))
    await telling.run(EpochsSkipped(first_epoch=11, at=at(12), reason="the outbox is full"))


async def tell_refusals(telling: Telling) -> None:
    """Two commands that came too late, of which one was dropped later."""
    for letter_id in (f"{telling.run_id}1", f"{telling.run_id}2"):
        stream = StreamName("deadletter", letter_id)
        letter = DeadLetter(
            letter_id=letter_id, stream="ESPER_COMMANDS", consumer="tezzeret", reason="expired", error="a day late"
        )
        await telling.tell(stream, DeadLetterBuried(letter=letter), actor="warden")
    await telling.tell(StreamName("deadletter", f"{telling.run_id}2"), DeadLetterDropped(by="ann"), actor="operator")


async def tell_run(store: EventStore, run_id: str = "f" * 32) -> Telling:
    """Append the whole story to *store*."""
    telling = Telling(store, run_id)
    sites = [Site(seed_id="s0", label="conv1 -> head"), Site(seed_id="s1", label="features.3")]
    facts = RunFacts(model_class="net.Net", host_parameters=936, sites=sites, seed=7, data="digits, 1437 samples")
    started = await telling.run(RunStarted(facts=facts))
    for site in sites:
        await telling.seed(site.seed_id, SlotRegistered(site=site), cause=started)
    stages = {"s0": SeedLifecycleStage.SEED_STAGE_DORMANT, "s1": SeedLifecycleStage.SEED_STAGE_TRAINING}
    observation = await telling.run(epoch_ended(1, 0.5, stages))
    await tell_library(telling)
    await tell_kept_seed(telling, observation)
    await tell_culled_seed(telling)
    for epoch in range(2, 11):
        await telling.run(epoch_ended(epoch, 0.5 + epoch / 50, stages))
    await tell_refusals(telling)
    await tell_rollback(telling, (0, 0), to_epoch=10)
    await tell_interruptions(telling, observation)
    kept = KeptSeed(seed_id="s0", blueprint_id="BP002", parameters=64, score_with=0.7, score_without=0.67)
    summary = RunSummary(at=at(10), score=0.7, parameters_after=1000, kept=[kept], germinated=3, culled=1)
    await telling.run(RunFinished(summary=summary))
    return telling


async def _report(telling: Telling, opened: int, written: int) -> None:
    about = {"report_id": "r1", "command_id": "c1", "command_type": "BeginBlending", "seed_id": "s0"}
    stream = StreamName("report", telling.run_id)
    await telling.tell(stream, FieldReportOpened(at=at(opened), window_epochs=3, score_before=0.6, **about))
    outcome = FieldReportOutcome.FIELD_REPORT_OUTCOME_SUCCESS
    gain = {"score_gain": 0.02}
    closing = FieldReportWritten(
        at=at(written), outcome=outcome, attribution="counterfactual", metrics=gain, window_epochs=3, **about
    )
    await telling.tell(stream, closing)


def _holding(relation: str, limit: float) -> float:
    return limit + {">": 1.0, "<": -1.0}.get(relation, 0.0)
