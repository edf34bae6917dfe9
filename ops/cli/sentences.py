"""One sentence per event type, with the numbers that a person asks for first."""

from functools import singledispatch

from google.protobuf.message import Message

from esper.leyline.v1.actor_pb2 import ActorStarted
from esper.leyline.v1.blueprint_pb2 import BlueprintRegistered
from esper.leyline.v1.enums_pb2 import (
    AlphaCurve,
    CircuitBreakerState,
    CompileStage,
    CullInitiator,
    DecisionAction,
    FieldReportOutcome,
    RollbackMode,
    RollbackTier,
)
from esper.leyline.v1.fabric_pb2 import (
    BreakerStateChanged,
    ConservativeModeEntered,
    ConservativeModeLeft,
    DeadLetterBuried,
    DeadLetterDropped,
    DeadLetterRetried,
    EmergenciesCoalesced,
    EmergencyRaised,
)
from esper.leyline.v1.job_pb2 import (
    CompileAttemptFailed,
    CompileAttemptStarted,
    CompileJobQuarantined,
    CompileJobQueued,
    CompileStageCompleted,
    KernelCompiled,
)
from esper.leyline.v1.kernel_pb2 import KernelRegistered, KernelRejected, KernelRequested
from esper.leyline.v1.policy_pb2 import DecisionMade, DecisionMissed, DecisionWithdrawn, MemoryRebased
from esper.leyline.v1.report_pb2 import FieldReportOpened, FieldReportWritten
from esper.leyline.v1.run_pb2 import (
    ChangeDeferred,
    CheckpointCommitted,
    CheckpointExpired,
    EpochEnded,
    EpochsSkipped,
    GrowthFrozen,
    GrowthThawed,
    HaltAcknowledged,
    KernelsEvicted,
    RollbackCompleted,
    RunBranched,
    RunFinished,
    RunForked,
    RunHalted,
    RunResumed,
    RunRolledBack,
    RunStarted,
)
from esper.leyline.v1.seed_pb2 import (
    AlphaRampCompleted,
    AlphaRampPaused,
    GateEvaluated,
    KernelAttached,
    KernelAttachFailed,
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
    SlotTerminated,
)
from esper.nissa.words import word
from eventstore.v1.archive_pb2 import LogImported
from ops.cli.phrases import counted, engine, gate_name, settings, shape_of, shortfall, stage_name


@singledispatch
def sentence(event: Message) -> str:
    """Return what *event* says happened, for people.

    Raises:
        NotImplementedError: the language has grown a type that nobody has put into words.
    """
    raise NotImplementedError(f"no sentence for {type(event).__name__}")


@sentence.register
def _(event: RunStarted) -> str:
    facts = event.facts
    data = f" on {facts.data}" if facts.data else ""
    return f"{facts.model_class} with {facts.host_parameters:,} parameters{data}; {counted(len(facts.sites), 'site')}"


@sentence.register
def _(event: EpochsSkipped) -> str:
    return f"epochs {event.first_epoch} to {event.at.epoch} were trained and not recorded: {event.reason}"


@sentence.register
def _(event: EpochEnded) -> str:
    facts = event.facts
    score = f", score {facts.score:.4f}" if facts.HasField("score") else ", score not measured"
    growing = f" + {facts.growing_parameters:,} growing" if facts.growing_parameters else ""
    return (
        f"loss {facts.train_loss:.4f}{score} after {counted(facts.steps, 'step')}; "
        f"{facts.model_parameters:,} parameters{growing}"
    )


@sentence.register
def _(event: CheckpointCommitted) -> str:
    checkpoint = event.checkpoint
    return (
        f"checkpoint {checkpoint.checkpoint_id[:8]} of {counted(len(checkpoint.seeds), 'seed')}, "
        f"{checkpoint.bytes / 1024:,.0f} KiB, weights {checkpoint.model_sha256[:12]}"
    )


@sentence.register
def _(event: ChangeDeferred) -> str:
    return f"a change of {event.seed_id} decided for step {event.decided_for.step} was deferred: {event.reason}"


@sentence.register
def _(event: RunResumed) -> str:
    return f"resumed from checkpoint {event.checkpoint_id[:8]}, process {event.attempt} of this run"


@sentence.register
def _(event: RunForked) -> str:
    origin = event.origin
    return (
        f"forked from run {origin.run_id[:12]} at position {origin.position}; "
        f"goes on from its checkpoint of epoch {origin.at.epoch}"
    )


@sentence.register
def _(event: RunRolledBack) -> str:
    verb = "restored" if event.mode == RollbackMode.ROLLBACK_MODE_RESTORE else "stabilised"
    abandoned = f"positions {event.abandoned_from} to {event.abandoned_until} are abandoned"
    if event.abandoned_until < event.abandoned_from:
        abandoned = "nothing on record is abandoned"
    return (
        f"{verb} to checkpoint {event.checkpoint_id[:8]} of epoch {event.to.epoch}, step {event.to.step}: "
        f"{event.reason}; {abandoned}, timeline {event.timeline} begins"
    )


@sentence.register
def _(event: RunBranched) -> str:
    return f"run {event.run_id[:12]} was forked from this one at position {event.position}"


@sentence.register
def _(event: CheckpointExpired) -> str:
    return f"the checkpoint of epoch {event.held.epoch} has expired: nothing can be put back from it any more"


@sentence.register
def _(event: RollbackCompleted) -> str:
    return f"timeline {event.timeline} began after {event.seconds * 1000:.1f} ms, {word(RollbackTier, event.tier)} tier"


@sentence.register
def _(event: GrowthFrozen) -> str:
    late = ", recorded late because the log was away" if event.late else ""
    return f"growth is frozen: {event.reason}{late}"


@sentence.register
def _(event: GrowthThawed) -> str:
    return f"growth goes on: {event.reason}"


@sentence.register
def _(event: KernelsEvicted) -> str:
    return f"{counted(len(event.kernel_ids), 'kernel')}, {event.bytes / 1024:,.1f} KiB, let go of: {event.reason}"


@sentence.register
def _(event: RunHalted | HaltAcknowledged) -> str:
    if isinstance(event, RunHalted):
        return f"halted, until somebody acknowledges it: {event.reason}"
    return f"the halt is acknowledged, and the run may go on: {event.reason}"


@sentence.register
def _(event: SeedRebased) -> str:
    state = event.state
    seed = f" with {state.blueprint_id}, seed {state.generation} in this slot" if state.blueprint_id else ""
    return f"rolled back to version {event.to_version}: {stage_name(state.stage)}{seed}"


@sentence.register
def _(event: MemoryRebased) -> str:
    return f"remembers what was remembered then, of {counted(len(event.memory.lives), 'seed')}"


@sentence.register
def _(event: RunFinished) -> str:
    summary = event.summary
    score = f"score {summary.score:.4f}, " if summary.HasField("score") else ""
    return (
        f"{score}parameters {summary.parameters_before:,} -> {summary.parameters_after:,}; "
        f"{summary.germinated} germinated, {len(summary.kept)} kept, {summary.culled} culled"
    )


@sentence.register
def _(event: SlotRegistered) -> str:
    return f"site {event.site.seed_id} is {event.site.label}"


@sentence.register
def _(event: SeedGerminated) -> str:
    chosen = f" ({settings(event.parameters)})" if event.parameters else ""
    generation = f", seed {event.generation} in this slot" if event.generation > 1 else ""
    return f"{event.blueprint_id}{chosen} planted, {shape_of(event.shape)}{generation}"


@sentence.register
def _(event: GateEvaluated) -> str:
    name = gate_name(event.gate, event.profile)
    if event.passed:
        return f"{name} passed, {counted(len(event.checks_passed), 'check')}"
    return f"{name} FAILED: " + "; ".join(shortfall(event, check) for check in event.checks_failed)


@sentence.register
def _(event: KernelAttached) -> str:
    return f"kernel {event.kernel_id[:12]} attached, {event.parameter_count:,} parameters"


@sentence.register
def _(event: KernelAttachFailed) -> str:
    return f"kernel {event.kernel_id[:12]} refused: {event.reason}" + (f" ({event.detail})" if event.detail else "")


@sentence.register
def _(event: SeedTrainingStarted) -> str:
    return "the seed trains in isolation"


@sentence.register
def _(event: SeedBlendingStarted) -> str:
    curve = word(AlphaCurve, event.curve)
    return f"alpha {event.alpha_from:g} -> {event.alpha_target:g}, {curve} over {counted(event.ramp_steps, 'step')}"


@sentence.register
def _(event: AlphaRampCompleted) -> str:
    return f"alpha rests at {event.alpha:g}"


@sentence.register
def _(event: AlphaRampPaused) -> str:
    return f"the ramp is paused, alpha rests at {event.alpha:g}"


@sentence.register
def _(event: SeedShadowingStarted) -> str:
    return "the seed is switched off and probed on live batches"


@sentence.register
def _(event: SeedProbationStarted) -> str:
    return "the seed is live, on probation"


@sentence.register
def _(event: SeedFossilized) -> str:
    return f"kept for good: the score is {event.contribution:+.4f} with it (same weights, seed off)"


@sentence.register
def _(event: SeedCulled) -> str:
    by = word(CullInitiator, event.initiator)
    return f"removed while {stage_name(event.from_stage)}, by {by}: {event.reason}"


@sentence.register
def _(event: SlotEmbargoed) -> str:
    return f"nothing grows here before epoch {event.until_epoch}"


@sentence.register
def _(event: SlotResetStarted) -> str:
    return "the embargo is over; what the seed left is being counted"


@sentence.register
def _(event: SlotReopened) -> str:
    return "nothing is left of the seed; the slot is free"


@sentence.register
def _(event: SlotTerminated) -> str:
    return "the slot is closed for this run"


@sentence.register
def _(event: SeedCommandRefused) -> str:
    return f"{event.command_type.rsplit('.', 1)[-1]} refused: {event.reason}"


@sentence.register
def _(event: DecisionMade) -> str:
    action = word(DecisionAction, event.action)
    about = [event.blueprint_id, f"at {event.seed_id}" if event.seed_id else ""]
    # The reason names the seed itself, as a rule.
    target = "" if event.seed_id in event.reason else "".join(f" {part}" for part in about if part)
    return f"{action}{target}: {event.reason}"


@sentence.register
def _(event: DecisionMissed) -> str:
    return f"no decision in time: {event.reason}"


@sentence.register
def _(event: DecisionWithdrawn) -> str:
    return f"{word(DecisionAction, event.action)} {event.seed_id} never happened, {event.reason}"


@sentence.register
def _(event: FieldReportOpened) -> str:
    command = event.command_type.rsplit(".", 1)[-1]
    return f"report on {command} {event.seed_id} opened for {counted(event.window_epochs, 'epoch')}"


@sentence.register
def _(event: FieldReportWritten) -> str:
    outcome = word(FieldReportOutcome, event.outcome)
    told = next((name for name in ("contribution", "score_delta") if name in event.metrics), "")
    number = f"{told.replace('_', ' ')} {event.metrics[told]:+.4f}" if told else event.notes
    detail = ", ".join(part for part in (event.attribution, number) if part)
    command = event.command_type.rsplit(".", 1)[-1]
    return f"{command} {event.seed_id}: {outcome}" + (f" ({detail})" if detail else "")


@sentence.register
def _(event: BlueprintRegistered) -> str:
    return f"{event.descriptor.blueprint_id} {event.descriptor.name} {event.descriptor.version} is offered"


@sentence.register
def _(event: KernelRequested) -> str:
    return f"{event.spec.blueprint_id} wanted for {event.seed_id}, {shape_of(event.spec.shape)}"


@sentence.register
def _(event: KernelRegistered) -> str:
    return (
        f"{event.spec.blueprint_id} {event.version} is kernel {event.kernel_id[:12]}, "
        f"{event.bytes / 1024:,.1f} KiB, {engine(event.verdict, event.fallback_reason)}"
    )


@sentence.register
def _(event: KernelRejected) -> str:
    return f"kernel {event.kernel_id[:12]} rejected: {event.reason}" + (f" ({event.detail})" if event.detail else "")


@sentence.register
def _(event: CompileJobQueued) -> str:
    return f"{event.spec.blueprint_id} is to be compiled for {event.requester}"


@sentence.register
def _(event: CompileAttemptStarted) -> str:
    return f"attempt {event.attempt} under forge {event.forge_epoch}, at most {event.timeout_s:g} s"


@sentence.register
def _(event: CompileStageCompleted) -> str:
    stage = word(CompileStage, event.timing.stage)
    return f"{stage} took {event.timing.duration_ms:,.0f} ms"


@sentence.register
def _(event: KernelCompiled) -> str:
    kernel = event.kernel
    return (
        f"attempt {event.attempt} made kernel {kernel.kernel_id[:12]} in {kernel.compile_ms / 1000:.1f} s, "
        f"{engine(kernel.verdict, kernel.fallback_reason)}"
    )


@sentence.register
def _(event: CompileAttemptFailed) -> str:
    detail = f" ({event.detail})" if event.detail else ""
    then = "tried again" if event.will_retry else "given up"
    return f"attempt {event.attempt} failed: {event.reason}{detail}; {then}"


@sentence.register
def _(event: CompileJobQuarantined) -> str:
    return f"given up after {counted(event.attempts, 'attempt')}: {event.last_reason}"


@sentence.register
def _(event: ActorStarted) -> str:
    durable = "durable" if event.durable else "NOT durable"
    return f"start {event.epoch} on {event.host}, process {event.pid}, log {durable}"


@sentence.register
def _(event: DeadLetterBuried) -> str:
    letter = event.letter
    what = letter.command_type.rpartition(".")[2] or "a message"
    tries = counted(letter.deliveries, "try").replace("trys", "tries")
    return f"{what} for {letter.consumer} given up after {tries} ({letter.reason}): {letter.error}"


@sentence.register
def _(event: DeadLetterRetried) -> str:
    return f"queued again by {event.by}, retry {event.retry}" + (f": {event.note}" if event.note else "")


@sentence.register
def _(event: DeadLetterDropped) -> str:
    return f"dropped by {event.by}" + (f": {event.note}" if event.note else "")


@sentence.register
def _(event: BreakerStateChanged) -> str:
    name = CircuitBreakerState.Name(event.to_state).removeprefix("CIRCUIT_STATE_").lower().replace("_", "-")
    return f"now {name}: {event.reason or 'no reason given'}"


@sentence.register
def _(event: ConservativeModeEntered) -> str:
    return f"conservative mode: {event.reason or 'no reason given'}; only critical telemetry is taken"


@sentence.register
def _(event: ConservativeModeLeft) -> str:
    return f"conservative mode is over: {event.reason or 'no reason given'}"


@sentence.register
def _(event: EmergencyRaised) -> str:
    return f"EMERGENCY in {event.source}: {event.reason}: {event.detail}"


@sentence.register
def _(event: EmergenciesCoalesced) -> str:
    return f"{event.count:,} more of {event.reason}, the last: {event.last_detail}"


@sentence.register
def _(event: LogImported) -> str:
    signed = "" if event.signatures_verified else "; its signatures could not be checked"
    source = f"positions {event.first_position} to {event.last_position} of another log"
    return f"imported {event.subject}: {event.commits} commits, {source} (archive {event.archive_sha256[:12]}){signed}"
