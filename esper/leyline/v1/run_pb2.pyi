from esper.leyline.v1 import enums_pb2 as _enums_pb2
from esper.leyline.v1 import site_pb2 as _site_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RunFacts(_message.Message):
    __slots__ = ("model_class", "model_sha256", "host_parameters", "sites", "settings_json", "torch_version", "python_version", "esper_version", "data", "seed", "controller", "policy_version", "objective", "origin")
    MODEL_CLASS_FIELD_NUMBER: _ClassVar[int]
    MODEL_SHA256_FIELD_NUMBER: _ClassVar[int]
    HOST_PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    SITES_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_JSON_FIELD_NUMBER: _ClassVar[int]
    TORCH_VERSION_FIELD_NUMBER: _ClassVar[int]
    PYTHON_VERSION_FIELD_NUMBER: _ClassVar[int]
    ESPER_VERSION_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    CONTROLLER_FIELD_NUMBER: _ClassVar[int]
    POLICY_VERSION_FIELD_NUMBER: _ClassVar[int]
    OBJECTIVE_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    model_class: str
    model_sha256: str
    host_parameters: int
    sites: _containers.RepeatedCompositeFieldContainer[_site_pb2.Site]
    settings_json: str
    torch_version: str
    python_version: str
    esper_version: str
    data: str
    seed: int
    controller: str
    policy_version: str
    objective: bool
    origin: RunOrigin
    def __init__(self, model_class: _Optional[str] = ..., model_sha256: _Optional[str] = ..., host_parameters: _Optional[int] = ..., sites: _Optional[_Iterable[_Union[_site_pb2.Site, _Mapping]]] = ..., settings_json: _Optional[str] = ..., torch_version: _Optional[str] = ..., python_version: _Optional[str] = ..., esper_version: _Optional[str] = ..., data: _Optional[str] = ..., seed: _Optional[int] = ..., controller: _Optional[str] = ..., policy_version: _Optional[str] = ..., objective: _Optional[bool] = ..., origin: _Optional[_Union[RunOrigin, _Mapping]] = ...) -> None: ...

class RunOrigin(_message.Message):
    __slots__ = ("run_id", "position", "checkpoint_id", "at", "settings_json")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_ID_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_JSON_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    position: int
    checkpoint_id: str
    at: _site_pb2.Moment
    settings_json: str
    def __init__(self, run_id: _Optional[str] = ..., position: _Optional[int] = ..., checkpoint_id: _Optional[str] = ..., at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ..., settings_json: _Optional[str] = ...) -> None: ...

class CompleteFork(_message.Message):
    __slots__ = ("origin",)
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    origin: RunOrigin
    def __init__(self, origin: _Optional[_Union[RunOrigin, _Mapping]] = ...) -> None: ...

class RunForked(_message.Message):
    __slots__ = ("origin",)
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    origin: RunOrigin
    def __init__(self, origin: _Optional[_Union[RunOrigin, _Mapping]] = ...) -> None: ...

class RecordBranch(_message.Message):
    __slots__ = ("run_id", "position", "checkpoint_id")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_ID_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    position: int
    checkpoint_id: str
    def __init__(self, run_id: _Optional[str] = ..., position: _Optional[int] = ..., checkpoint_id: _Optional[str] = ...) -> None: ...

class RunBranched(_message.Message):
    __slots__ = ("run_id", "position", "checkpoint_id")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_ID_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    position: int
    checkpoint_id: str
    def __init__(self, run_id: _Optional[str] = ..., position: _Optional[int] = ..., checkpoint_id: _Optional[str] = ...) -> None: ...

class StartRun(_message.Message):
    __slots__ = ("facts", "checkpoint")
    FACTS_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    facts: RunFacts
    checkpoint: Checkpoint
    def __init__(self, facts: _Optional[_Union[RunFacts, _Mapping]] = ..., checkpoint: _Optional[_Union[Checkpoint, _Mapping]] = ...) -> None: ...

class RunStarted(_message.Message):
    __slots__ = ("facts",)
    FACTS_FIELD_NUMBER: _ClassVar[int]
    facts: RunFacts
    def __init__(self, facts: _Optional[_Union[RunFacts, _Mapping]] = ...) -> None: ...

class EpochFacts(_message.Message):
    __slots__ = ("at", "steps", "train_loss", "score", "metrics", "pressures", "seeds", "model_parameters", "growing_parameters", "step_seconds", "overhead_seconds", "outbox_depth", "coalitions")
    class MetricsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    AT_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    TRAIN_LOSS_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    PRESSURES_FIELD_NUMBER: _ClassVar[int]
    SEEDS_FIELD_NUMBER: _ClassVar[int]
    MODEL_PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    GROWING_PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    STEP_SECONDS_FIELD_NUMBER: _ClassVar[int]
    OVERHEAD_SECONDS_FIELD_NUMBER: _ClassVar[int]
    OUTBOX_DEPTH_FIELD_NUMBER: _ClassVar[int]
    COALITIONS_FIELD_NUMBER: _ClassVar[int]
    at: _site_pb2.Moment
    steps: int
    train_loss: float
    score: float
    metrics: _containers.ScalarMap[str, float]
    pressures: _containers.RepeatedCompositeFieldContainer[_site_pb2.SitePressure]
    seeds: _containers.RepeatedCompositeFieldContainer[_site_pb2.SeedObservation]
    model_parameters: int
    growing_parameters: int
    step_seconds: float
    overhead_seconds: float
    outbox_depth: int
    coalitions: _containers.RepeatedCompositeFieldContainer[Coalition]
    def __init__(self, at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ..., steps: _Optional[int] = ..., train_loss: _Optional[float] = ..., score: _Optional[float] = ..., metrics: _Optional[_Mapping[str, float]] = ..., pressures: _Optional[_Iterable[_Union[_site_pb2.SitePressure, _Mapping]]] = ..., seeds: _Optional[_Iterable[_Union[_site_pb2.SeedObservation, _Mapping]]] = ..., model_parameters: _Optional[int] = ..., growing_parameters: _Optional[int] = ..., step_seconds: _Optional[float] = ..., overhead_seconds: _Optional[float] = ..., outbox_depth: _Optional[int] = ..., coalitions: _Optional[_Iterable[_Union[Coalition, _Mapping]]] = ...) -> None: ...

class Coalition(_message.Message):
    __slots__ = ("seed_ids", "score")
    SEED_IDS_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    seed_ids: _containers.RepeatedScalarFieldContainer[str]
    score: float
    def __init__(self, seed_ids: _Optional[_Iterable[str]] = ..., score: _Optional[float] = ...) -> None: ...

class EndEpoch(_message.Message):
    __slots__ = ("facts",)
    FACTS_FIELD_NUMBER: _ClassVar[int]
    facts: EpochFacts
    def __init__(self, facts: _Optional[_Union[EpochFacts, _Mapping]] = ...) -> None: ...

class EpochEnded(_message.Message):
    __slots__ = ("facts",)
    FACTS_FIELD_NUMBER: _ClassVar[int]
    facts: EpochFacts
    def __init__(self, facts: _Optional[_Union[EpochFacts, _Mapping]] = ...) -> None: ...

class SkipEpochs(_message.Message):
    __slots__ = ("first_epoch", "at", "reason")
    FIRST_EPOCH_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    first_epoch: int
    at: _site_pb2.Moment
    reason: str
    def __init__(self, first_epoch: _Optional[int] = ..., at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ..., reason: _Optional[str] = ...) -> None: ...

class EpochsSkipped(_message.Message):
    __slots__ = ("first_epoch", "at", "reason")
    FIRST_EPOCH_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    first_epoch: int
    at: _site_pb2.Moment
    reason: str
    def __init__(self, first_epoch: _Optional[int] = ..., at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ..., reason: _Optional[str] = ...) -> None: ...

class CheckpointSeed(_message.Message):
    __slots__ = ("seed_id", "generation", "stage", "blueprint_id", "parameters", "kernel_id", "weights_sha256", "version")
    class ParametersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    SEED_ID_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    BLUEPRINT_ID_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    KERNEL_ID_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_SHA256_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    seed_id: str
    generation: int
    stage: _enums_pb2.SeedLifecycleStage
    blueprint_id: str
    parameters: _containers.ScalarMap[str, float]
    kernel_id: str
    weights_sha256: str
    version: int
    def __init__(self, seed_id: _Optional[str] = ..., generation: _Optional[int] = ..., stage: _Optional[_Union[_enums_pb2.SeedLifecycleStage, str]] = ..., blueprint_id: _Optional[str] = ..., parameters: _Optional[_Mapping[str, float]] = ..., kernel_id: _Optional[str] = ..., weights_sha256: _Optional[str] = ..., version: _Optional[int] = ...) -> None: ...

class Checkpoint(_message.Message):
    __slots__ = ("checkpoint_id", "at", "manifest_sha256", "bytes", "seeds", "model_sha256", "log_created_ns", "log_first_position", "log_last_position", "blessed", "timeline")
    CHECKPOINT_ID_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_SHA256_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    SEEDS_FIELD_NUMBER: _ClassVar[int]
    MODEL_SHA256_FIELD_NUMBER: _ClassVar[int]
    LOG_CREATED_NS_FIELD_NUMBER: _ClassVar[int]
    LOG_FIRST_POSITION_FIELD_NUMBER: _ClassVar[int]
    LOG_LAST_POSITION_FIELD_NUMBER: _ClassVar[int]
    BLESSED_FIELD_NUMBER: _ClassVar[int]
    TIMELINE_FIELD_NUMBER: _ClassVar[int]
    checkpoint_id: str
    at: _site_pb2.Moment
    manifest_sha256: str
    bytes: int
    seeds: _containers.RepeatedCompositeFieldContainer[CheckpointSeed]
    model_sha256: str
    log_created_ns: int
    log_first_position: int
    log_last_position: int
    blessed: bool
    timeline: int
    def __init__(self, checkpoint_id: _Optional[str] = ..., at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ..., manifest_sha256: _Optional[str] = ..., bytes: _Optional[int] = ..., seeds: _Optional[_Iterable[_Union[CheckpointSeed, _Mapping]]] = ..., model_sha256: _Optional[str] = ..., log_created_ns: _Optional[int] = ..., log_first_position: _Optional[int] = ..., log_last_position: _Optional[int] = ..., blessed: _Optional[bool] = ..., timeline: _Optional[int] = ...) -> None: ...

class CommitCheckpoint(_message.Message):
    __slots__ = ("checkpoint",)
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    checkpoint: Checkpoint
    def __init__(self, checkpoint: _Optional[_Union[Checkpoint, _Mapping]] = ...) -> None: ...

class CheckpointCommitted(_message.Message):
    __slots__ = ("checkpoint",)
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    checkpoint: Checkpoint
    def __init__(self, checkpoint: _Optional[_Union[Checkpoint, _Mapping]] = ...) -> None: ...

class ExpireCheckpoints(_message.Message):
    __slots__ = ("at", "checkpoints")
    AT_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINTS_FIELD_NUMBER: _ClassVar[int]
    at: _site_pb2.Moment
    checkpoints: _containers.RepeatedCompositeFieldContainer[ExpiringCheckpoint]
    def __init__(self, at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ..., checkpoints: _Optional[_Iterable[_Union[ExpiringCheckpoint, _Mapping]]] = ...) -> None: ...

class ExpiringCheckpoint(_message.Message):
    __slots__ = ("checkpoint_id", "manifest_sha256", "held")
    CHECKPOINT_ID_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_SHA256_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    checkpoint_id: str
    manifest_sha256: str
    held: _site_pb2.Moment
    def __init__(self, checkpoint_id: _Optional[str] = ..., manifest_sha256: _Optional[str] = ..., held: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ...) -> None: ...

class CheckpointExpired(_message.Message):
    __slots__ = ("at", "checkpoint_id", "manifest_sha256", "held")
    AT_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_ID_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_SHA256_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    at: _site_pb2.Moment
    checkpoint_id: str
    manifest_sha256: str
    held: _site_pb2.Moment
    def __init__(self, at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ..., checkpoint_id: _Optional[str] = ..., manifest_sha256: _Optional[str] = ..., held: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ...) -> None: ...

class DeferChange(_message.Message):
    __slots__ = ("command_id", "seed_id", "reason", "decided_for", "at")
    COMMAND_ID_FIELD_NUMBER: _ClassVar[int]
    SEED_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DECIDED_FOR_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    command_id: str
    seed_id: str
    reason: str
    decided_for: _site_pb2.Moment
    at: _site_pb2.Moment
    def __init__(self, command_id: _Optional[str] = ..., seed_id: _Optional[str] = ..., reason: _Optional[str] = ..., decided_for: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ..., at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ...) -> None: ...

class ChangeDeferred(_message.Message):
    __slots__ = ("command_id", "seed_id", "reason", "decided_for", "at")
    COMMAND_ID_FIELD_NUMBER: _ClassVar[int]
    SEED_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DECIDED_FOR_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    command_id: str
    seed_id: str
    reason: str
    decided_for: _site_pb2.Moment
    at: _site_pb2.Moment
    def __init__(self, command_id: _Optional[str] = ..., seed_id: _Optional[str] = ..., reason: _Optional[str] = ..., decided_for: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ..., at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ...) -> None: ...

class ResumeRun(_message.Message):
    __slots__ = ("checkpoint_id", "at", "attempt")
    CHECKPOINT_ID_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    checkpoint_id: str
    at: _site_pb2.Moment
    attempt: int
    def __init__(self, checkpoint_id: _Optional[str] = ..., at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ..., attempt: _Optional[int] = ...) -> None: ...

class RunResumed(_message.Message):
    __slots__ = ("checkpoint_id", "at", "attempt")
    CHECKPOINT_ID_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    checkpoint_id: str
    at: _site_pb2.Moment
    attempt: int
    def __init__(self, checkpoint_id: _Optional[str] = ..., at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ..., attempt: _Optional[int] = ...) -> None: ...

class KeptSeed(_message.Message):
    __slots__ = ("seed_id", "blueprint_id", "parameters", "score_with", "score_without")
    SEED_ID_FIELD_NUMBER: _ClassVar[int]
    BLUEPRINT_ID_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    SCORE_WITH_FIELD_NUMBER: _ClassVar[int]
    SCORE_WITHOUT_FIELD_NUMBER: _ClassVar[int]
    seed_id: str
    blueprint_id: str
    parameters: int
    score_with: float
    score_without: float
    def __init__(self, seed_id: _Optional[str] = ..., blueprint_id: _Optional[str] = ..., parameters: _Optional[int] = ..., score_with: _Optional[float] = ..., score_without: _Optional[float] = ...) -> None: ...

class RunSummary(_message.Message):
    __slots__ = ("at", "score", "parameters_before", "parameters_after", "kept", "germinated", "culled", "overhead_ratio", "model_sha256")
    AT_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_BEFORE_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_AFTER_FIELD_NUMBER: _ClassVar[int]
    KEPT_FIELD_NUMBER: _ClassVar[int]
    GERMINATED_FIELD_NUMBER: _ClassVar[int]
    CULLED_FIELD_NUMBER: _ClassVar[int]
    OVERHEAD_RATIO_FIELD_NUMBER: _ClassVar[int]
    MODEL_SHA256_FIELD_NUMBER: _ClassVar[int]
    at: _site_pb2.Moment
    score: float
    parameters_before: int
    parameters_after: int
    kept: _containers.RepeatedCompositeFieldContainer[KeptSeed]
    germinated: int
    culled: int
    overhead_ratio: float
    model_sha256: str
    def __init__(self, at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ..., score: _Optional[float] = ..., parameters_before: _Optional[int] = ..., parameters_after: _Optional[int] = ..., kept: _Optional[_Iterable[_Union[KeptSeed, _Mapping]]] = ..., germinated: _Optional[int] = ..., culled: _Optional[int] = ..., overhead_ratio: _Optional[float] = ..., model_sha256: _Optional[str] = ...) -> None: ...

class FinishRun(_message.Message):
    __slots__ = ("summary",)
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    summary: RunSummary
    def __init__(self, summary: _Optional[_Union[RunSummary, _Mapping]] = ...) -> None: ...

class RunFinished(_message.Message):
    __slots__ = ("summary",)
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    summary: RunSummary
    def __init__(self, summary: _Optional[_Union[RunSummary, _Mapping]] = ...) -> None: ...

class RollBackRun(_message.Message):
    __slots__ = ("at", "checkpoint_id", "to", "mode", "tier", "reason", "timeline", "abandoned_from", "abandoned_until", "last_epoch")
    AT_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_ID_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    TIMELINE_FIELD_NUMBER: _ClassVar[int]
    ABANDONED_FROM_FIELD_NUMBER: _ClassVar[int]
    ABANDONED_UNTIL_FIELD_NUMBER: _ClassVar[int]
    LAST_EPOCH_FIELD_NUMBER: _ClassVar[int]
    at: _site_pb2.Moment
    checkpoint_id: str
    to: _site_pb2.Moment
    mode: _enums_pb2.RollbackMode
    tier: _enums_pb2.RollbackTier
    reason: str
    timeline: int
    abandoned_from: int
    abandoned_until: int
    last_epoch: EpochFacts
    def __init__(self, at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ..., checkpoint_id: _Optional[str] = ..., to: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ..., mode: _Optional[_Union[_enums_pb2.RollbackMode, str]] = ..., tier: _Optional[_Union[_enums_pb2.RollbackTier, str]] = ..., reason: _Optional[str] = ..., timeline: _Optional[int] = ..., abandoned_from: _Optional[int] = ..., abandoned_until: _Optional[int] = ..., last_epoch: _Optional[_Union[EpochFacts, _Mapping]] = ...) -> None: ...

class RunRolledBack(_message.Message):
    __slots__ = ("at", "checkpoint_id", "to", "mode", "tier", "reason", "timeline", "abandoned_from", "abandoned_until", "last_epoch")
    AT_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_ID_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    TIMELINE_FIELD_NUMBER: _ClassVar[int]
    ABANDONED_FROM_FIELD_NUMBER: _ClassVar[int]
    ABANDONED_UNTIL_FIELD_NUMBER: _ClassVar[int]
    LAST_EPOCH_FIELD_NUMBER: _ClassVar[int]
    at: _site_pb2.Moment
    checkpoint_id: str
    to: _site_pb2.Moment
    mode: _enums_pb2.RollbackMode
    tier: _enums_pb2.RollbackTier
    reason: str
    timeline: int
    abandoned_from: int
    abandoned_until: int
    last_epoch: EpochFacts
    def __init__(self, at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ..., checkpoint_id: _Optional[str] = ..., to: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ..., mode: _Optional[_Union[_enums_pb2.RollbackMode, str]] = ..., tier: _Optional[_Union[_enums_pb2.RollbackTier, str]] = ..., reason: _Optional[str] = ..., timeline: _Optional[int] = ..., abandoned_from: _Optional[int] = ..., abandoned_until: _Optional[int] = ..., last_epoch: _Optional[_Union[EpochFacts, _Mapping]] = ...) -> None: ...

class CompleteRollback(_message.Message):
    __slots__ = ("at", "timeline", "tier", "seconds")
    AT_FIELD_NUMBER: _ClassVar[int]
    TIMELINE_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    at: _site_pb2.Moment
    timeline: int
    tier: _enums_pb2.RollbackTier
    seconds: float
    def __init__(self, at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ..., timeline: _Optional[int] = ..., tier: _Optional[_Union[_enums_pb2.RollbackTier, str]] = ..., seconds: _Optional[float] = ...) -> None: ...

class RollbackCompleted(_message.Message):
    __slots__ = ("at", "timeline", "tier", "seconds")
    AT_FIELD_NUMBER: _ClassVar[int]
    TIMELINE_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    at: _site_pb2.Moment
    timeline: int
    tier: _enums_pb2.RollbackTier
    seconds: float
    def __init__(self, at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ..., timeline: _Optional[int] = ..., tier: _Optional[_Union[_enums_pb2.RollbackTier, str]] = ..., seconds: _Optional[float] = ...) -> None: ...

class FreezeGrowth(_message.Message):
    __slots__ = ("at", "reason", "raised_at_ns", "late")
    AT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    RAISED_AT_NS_FIELD_NUMBER: _ClassVar[int]
    LATE_FIELD_NUMBER: _ClassVar[int]
    at: _site_pb2.Moment
    reason: str
    raised_at_ns: int
    late: bool
    def __init__(self, at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ..., reason: _Optional[str] = ..., raised_at_ns: _Optional[int] = ..., late: _Optional[bool] = ...) -> None: ...

class GrowthFrozen(_message.Message):
    __slots__ = ("at", "reason", "raised_at_ns", "late")
    AT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    RAISED_AT_NS_FIELD_NUMBER: _ClassVar[int]
    LATE_FIELD_NUMBER: _ClassVar[int]
    at: _site_pb2.Moment
    reason: str
    raised_at_ns: int
    late: bool
    def __init__(self, at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ..., reason: _Optional[str] = ..., raised_at_ns: _Optional[int] = ..., late: _Optional[bool] = ...) -> None: ...

class ThawGrowth(_message.Message):
    __slots__ = ("at", "reason", "raised_at_ns")
    AT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    RAISED_AT_NS_FIELD_NUMBER: _ClassVar[int]
    at: _site_pb2.Moment
    reason: str
    raised_at_ns: int
    def __init__(self, at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ..., reason: _Optional[str] = ..., raised_at_ns: _Optional[int] = ...) -> None: ...

class GrowthThawed(_message.Message):
    __slots__ = ("at", "reason", "raised_at_ns")
    AT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    RAISED_AT_NS_FIELD_NUMBER: _ClassVar[int]
    at: _site_pb2.Moment
    reason: str
    raised_at_ns: int
    def __init__(self, at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ..., reason: _Optional[str] = ..., raised_at_ns: _Optional[int] = ...) -> None: ...

class EvictKernels(_message.Message):
    __slots__ = ("at", "kernel_ids", "bytes", "reason", "kept_bytes")
    AT_FIELD_NUMBER: _ClassVar[int]
    KERNEL_IDS_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    KEPT_BYTES_FIELD_NUMBER: _ClassVar[int]
    at: _site_pb2.Moment
    kernel_ids: _containers.RepeatedScalarFieldContainer[str]
    bytes: int
    reason: str
    kept_bytes: int
    def __init__(self, at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ..., kernel_ids: _Optional[_Iterable[str]] = ..., bytes: _Optional[int] = ..., reason: _Optional[str] = ..., kept_bytes: _Optional[int] = ...) -> None: ...

class KernelsEvicted(_message.Message):
    __slots__ = ("at", "kernel_ids", "bytes", "reason", "kept_bytes")
    AT_FIELD_NUMBER: _ClassVar[int]
    KERNEL_IDS_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    KEPT_BYTES_FIELD_NUMBER: _ClassVar[int]
    at: _site_pb2.Moment
    kernel_ids: _containers.RepeatedScalarFieldContainer[str]
    bytes: int
    reason: str
    kept_bytes: int
    def __init__(self, at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ..., kernel_ids: _Optional[_Iterable[str]] = ..., bytes: _Optional[int] = ..., reason: _Optional[str] = ..., kept_bytes: _Optional[int] = ...) -> None: ...

class HaltRun(_message.Message):
    __slots__ = ("at", "reason", "timeline")
    AT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    TIMELINE_FIELD_NUMBER: _ClassVar[int]
    at: _site_pb2.Moment
    reason: str
    timeline: int
    def __init__(self, at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ..., reason: _Optional[str] = ..., timeline: _Optional[int] = ...) -> None: ...

class RunHalted(_message.Message):
    __slots__ = ("at", "reason", "timeline")
    AT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    TIMELINE_FIELD_NUMBER: _ClassVar[int]
    at: _site_pb2.Moment
    reason: str
    timeline: int
    def __init__(self, at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ..., reason: _Optional[str] = ..., timeline: _Optional[int] = ...) -> None: ...

class AcknowledgeHalt(_message.Message):
    __slots__ = ("reason",)
    REASON_FIELD_NUMBER: _ClassVar[int]
    reason: str
    def __init__(self, reason: _Optional[str] = ...) -> None: ...

class HaltAcknowledged(_message.Message):
    __slots__ = ("reason", "at", "timeline")
    REASON_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    TIMELINE_FIELD_NUMBER: _ClassVar[int]
    reason: str
    at: _site_pb2.Moment
    timeline: int
    def __init__(self, reason: _Optional[str] = ..., at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ..., timeline: _Optional[int] = ...) -> None: ...
