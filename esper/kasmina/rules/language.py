"""What a growth slot can be asked for, and what can happen to it."""

from typing import TypeAlias

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
    SlotTerminated,
    TerminateSlot,
)

SeedCommand: TypeAlias = (
    RegisterSlot
    | GerminateSeed
    | AttachKernel
    | RefuseKernel
    | BeginBlending
    | CompleteRamp
    | PauseRamp
    | BeginShadowing
    | BeginProbation
    | RetargetAlpha
    | FossilizeSeed
    | CullSeed
    | EmbargoSlot
    | BeginReset
    | ReopenSlot
    | TerminateSlot
    | RefuseSeedCommand
    | RebaseSeed
)
SeedEvent: TypeAlias = (
    SlotRegistered
    | SeedGerminated
    | GateEvaluated
    | KernelAttached
    | KernelAttachFailed
    | SeedTrainingStarted
    | SeedBlendingStarted
    | AlphaRampCompleted
    | AlphaRampPaused
    | SeedShadowingStarted
    | SeedProbationStarted
    | SeedFossilized
    | SeedCulled
    | SlotEmbargoed
    | SlotResetStarted
    | SlotReopened
    | SlotTerminated
    | SeedCommandRefused
    | SeedRebased
)
