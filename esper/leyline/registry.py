"""Every event type of the language, by its full protobuf name."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

from google.protobuf.message import Message

from esper.leyline.v1 import (
    actor_pb2,
    blueprint_pb2,
    fabric_pb2,
    job_pb2,
    kernel_pb2,
    policy_pb2,
    report_pb2,
    run_pb2,
    seed_pb2,
)

Upcaster: TypeAlias = Callable[[bytes], tuple[str, int, bytes]]
"""From the payload of one released type and version to the (type, version, payload) that took its place."""


class Vocabulary:
    """A fixed set of message types, each with the schema version it is written under.

    *upcasters* maps every (full type name, schema version) that was released and is no longer written to the step that
    leads on from it, so that history stays readable.
    """

    def __init__(
        self, versions: dict[type[Message], int], upcasters: Mapping[tuple[str, int], Upcaster] | None = None
    ) -> None:
        self._versions = versions
        self._upcasters = dict(upcasters or {})
        self._classes = {kind.DESCRIPTOR.full_name: kind for kind in versions}

    def lookup(self, name: str) -> tuple[type[Message], int] | None:
        """Return the class and newest schema version of the type called *name*, or None if it is not known."""
        kind = self._classes.get(name)
        return None if kind is None else (kind, self._versions[kind])

    def version(self, message: Message) -> int:
        """Return the schema version under which *message* is written.

        Raises:
            KeyError: its type is not part of this vocabulary.
        """
        return self._versions[type(message)]

    def upcaster(self, name: str, schema_version: int) -> Upcaster | None:
        """Return the step that leads on from version *schema_version* of type *name*, or None if none does."""
        return self._upcasters.get((name, schema_version))

    def names(self) -> tuple[str, ...]:
        """Return the full names of all types, sorted."""
        return tuple(sorted(self._classes))


EVENTS = Vocabulary(
    {
        run_pb2.RunStarted: 1,
        run_pb2.EpochEnded: 1,
        run_pb2.EpochsSkipped: 1,
        run_pb2.CheckpointCommitted: 1,
        run_pb2.ChangeDeferred: 1,
        run_pb2.RunResumed: 1,
        run_pb2.RunFinished: 1,
        run_pb2.RunForked: 1,
        run_pb2.RunBranched: 1,
        run_pb2.RunRolledBack: 1,
        run_pb2.RollbackCompleted: 1,
        run_pb2.GrowthFrozen: 1,
        run_pb2.GrowthThawed: 1,
        run_pb2.CheckpointExpired: 1,
        run_pb2.KernelsEvicted: 1,
        run_pb2.RunHalted: 1,
        run_pb2.HaltAcknowledged: 1,
        seed_pb2.SlotRegistered: 1,
        seed_pb2.SeedGerminated: 1,
        seed_pb2.GateEvaluated: 1,
        seed_pb2.KernelAttached: 1,
        seed_pb2.KernelAttachFailed: 1,
        seed_pb2.SeedTrainingStarted: 1,
        seed_pb2.SeedBlendingStarted: 1,
        seed_pb2.AlphaRampCompleted: 1,
        seed_pb2.AlphaRampPaused: 1,
        seed_pb2.SeedShadowingStarted: 1,
        seed_pb2.SeedProbationStarted: 1,
        seed_pb2.SeedFossilized: 1,
        seed_pb2.SeedCulled: 1,
        seed_pb2.SlotEmbargoed: 1,
        seed_pb2.SlotResetStarted: 1,
        seed_pb2.SlotReopened: 1,
        seed_pb2.SlotTerminated: 1,
        seed_pb2.SeedCommandRefused: 1,
        seed_pb2.SeedRebased: 1,
        policy_pb2.DecisionMade: 1,
        policy_pb2.DecisionMissed: 1,
        policy_pb2.DecisionWithdrawn: 1,
        policy_pb2.MemoryRebased: 1,
        report_pb2.FieldReportOpened: 1,
        report_pb2.FieldReportWritten: 1,
        blueprint_pb2.BlueprintRegistered: 1,
        kernel_pb2.KernelRequested: 1,
        kernel_pb2.KernelRegistered: 1,
        kernel_pb2.KernelRejected: 1,
        job_pb2.CompileJobQueued: 1,
        job_pb2.CompileAttemptStarted: 1,
        job_pb2.CompileStageCompleted: 1,
        job_pb2.KernelCompiled: 1,
        job_pb2.CompileAttemptFailed: 1,
        job_pb2.CompileJobQuarantined: 1,
        actor_pb2.ActorStarted: 1,
        fabric_pb2.DeadLetterBuried: 1,
        fabric_pb2.DeadLetterRetried: 1,
        fabric_pb2.DeadLetterDropped: 1,
        fabric_pb2.BreakerStateChanged: 1,
        fabric_pb2.EmergencyRaised: 1,
        fabric_pb2.EmergenciesCoalesced: 1,
        fabric_pb2.ConservativeModeEntered: 1,
        fabric_pb2.ConservativeModeLeft: 1,
    }
)

HANDED_OVER = Vocabulary(
    {
        run_pb2.EndEpoch: 1,
        run_pb2.SkipEpochs: 1,
        run_pb2.FinishRun: 1,
        policy_pb2.MissDecision: 1,
    }
)
"""What the training thread puts into its outbox."""

COMMANDS = Vocabulary(
    {
        kernel_pb2.RequestKernel: 1,
        job_pb2.CompileBlueprint: 1,
        fabric_pb2.RaiseEmergency: 1,
    }
)
