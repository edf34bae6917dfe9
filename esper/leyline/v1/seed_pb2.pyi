from esper.leyline.v1 import enums_pb2 as _enums_pb2
from esper.leyline.v1 import site_pb2 as _site_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RegisterSlot(_message.Message):
    __slots__ = ("site",)
    SITE_FIELD_NUMBER: _ClassVar[int]
    site: _site_pb2.Site
    def __init__(self, site: _Optional[_Union[_site_pb2.Site, _Mapping]] = ...) -> None: ...

class GerminateSeed(_message.Message):
    __slots__ = ("at", "blueprint_id", "parameters", "blend_mode", "shape", "init_seed", "kernel_key", "evidence", "blend", "after_blending")
    class ParametersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    class EvidenceEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    AT_FIELD_NUMBER: _ClassVar[int]
    BLUEPRINT_ID_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    BLEND_MODE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    INIT_SEED_FIELD_NUMBER: _ClassVar[int]
    KERNEL_KEY_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    BLEND_FIELD_NUMBER: _ClassVar[int]
    AFTER_BLENDING_FIELD_NUMBER: _ClassVar[int]
    at: _site_pb2.Moment
    blueprint_id: str
    parameters: _containers.ScalarMap[str, float]
    blend_mode: _enums_pb2.BlendMode
    shape: _site_pb2.SiteShape
    init_seed: int
    kernel_key: str
    evidence: _containers.ScalarMap[str, float]
    blend: _site_pb2.BlendOptions
    after_blending: _enums_pb2.AfterBlending
    def __init__(self, at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ..., blueprint_id: _Optional[str] = ..., parameters: _Optional[_Mapping[str, float]] = ..., blend_mode: _Optional[_Union[_enums_pb2.BlendMode, str]] = ..., shape: _Optional[_Union[_site_pb2.SiteShape, _Mapping]] = ..., init_seed: _Optional[int] = ..., kernel_key: _Optional[str] = ..., evidence: _Optional[_Mapping[str, float]] = ..., blend: _Optional[_Union[_site_pb2.BlendOptions, _Mapping]] = ..., after_blending: _Optional[_Union[_enums_pb2.AfterBlending, str]] = ...) -> None: ...

class AttachKernel(_message.Message):
    __slots__ = ("at", "kernel_id", "weights_sha256", "parameter_count", "evidence")
    class EvidenceEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    AT_FIELD_NUMBER: _ClassVar[int]
    KERNEL_ID_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_SHA256_FIELD_NUMBER: _ClassVar[int]
    PARAMETER_COUNT_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    at: _site_pb2.Moment
    kernel_id: str
    weights_sha256: str
    parameter_count: int
    evidence: _containers.ScalarMap[str, float]
    def __init__(self, at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ..., kernel_id: _Optional[str] = ..., weights_sha256: _Optional[str] = ..., parameter_count: _Optional[int] = ..., evidence: _Optional[_Mapping[str, float]] = ...) -> None: ...

class RefuseKernel(_message.Message):
    __slots__ = ("at", "kernel_id", "reason", "detail")
    AT_FIELD_NUMBER: _ClassVar[int]
    KERNEL_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    at: _site_pb2.Moment
    kernel_id: str
    reason: str
    detail: str
    def __init__(self, at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ..., kernel_id: _Optional[str] = ..., reason: _Optional[str] = ..., detail: _Optional[str] = ...) -> None: ...

class BeginBlending(_message.Message):
    __slots__ = ("at", "alpha_target", "curve", "ramp_steps", "evidence")
    class EvidenceEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    AT_FIELD_NUMBER: _ClassVar[int]
    ALPHA_TARGET_FIELD_NUMBER: _ClassVar[int]
    CURVE_FIELD_NUMBER: _ClassVar[int]
    RAMP_STEPS_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    at: _site_pb2.Moment
    alpha_target: float
    curve: _enums_pb2.AlphaCurve
    ramp_steps: int
    evidence: _containers.ScalarMap[str, float]
    def __init__(self, at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ..., alpha_target: _Optional[float] = ..., curve: _Optional[_Union[_enums_pb2.AlphaCurve, str]] = ..., ramp_steps: _Optional[int] = ..., evidence: _Optional[_Mapping[str, float]] = ...) -> None: ...

class CompleteRamp(_message.Message):
    __slots__ = ("at",)
    AT_FIELD_NUMBER: _ClassVar[int]
    at: _site_pb2.Moment
    def __init__(self, at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ...) -> None: ...

class BeginShadowing(_message.Message):
    __slots__ = ("at", "evidence")
    class EvidenceEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    AT_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    at: _site_pb2.Moment
    evidence: _containers.ScalarMap[str, float]
    def __init__(self, at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ..., evidence: _Optional[_Mapping[str, float]] = ...) -> None: ...

class BeginProbation(_message.Message):
    __slots__ = ("at", "evidence")
    class EvidenceEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    AT_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    at: _site_pb2.Moment
    evidence: _containers.ScalarMap[str, float]
    def __init__(self, at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ..., evidence: _Optional[_Mapping[str, float]] = ...) -> None: ...

class PauseRamp(_message.Message):
    __slots__ = ("at",)
    AT_FIELD_NUMBER: _ClassVar[int]
    at: _site_pb2.Moment
    def __init__(self, at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ...) -> None: ...

class RetargetAlpha(_message.Message):
    __slots__ = ("at", "alpha_target", "curve", "ramp_steps")
    AT_FIELD_NUMBER: _ClassVar[int]
    ALPHA_TARGET_FIELD_NUMBER: _ClassVar[int]
    CURVE_FIELD_NUMBER: _ClassVar[int]
    RAMP_STEPS_FIELD_NUMBER: _ClassVar[int]
    at: _site_pb2.Moment
    alpha_target: float
    curve: _enums_pb2.AlphaCurve
    ramp_steps: int
    def __init__(self, at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ..., alpha_target: _Optional[float] = ..., curve: _Optional[_Union[_enums_pb2.AlphaCurve, str]] = ..., ramp_steps: _Optional[int] = ...) -> None: ...

class FossilizeSeed(_message.Message):
    __slots__ = ("at", "evidence")
    class EvidenceEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    AT_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    at: _site_pb2.Moment
    evidence: _containers.ScalarMap[str, float]
    def __init__(self, at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ..., evidence: _Optional[_Mapping[str, float]] = ...) -> None: ...

class CullSeed(_message.Message):
    __slots__ = ("at", "reason", "initiator")
    AT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    INITIATOR_FIELD_NUMBER: _ClassVar[int]
    at: _site_pb2.Moment
    reason: str
    initiator: _enums_pb2.CullInitiator
    def __init__(self, at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ..., reason: _Optional[str] = ..., initiator: _Optional[_Union[_enums_pb2.CullInitiator, str]] = ...) -> None: ...

class EmbargoSlot(_message.Message):
    __slots__ = ("at", "until_epoch")
    AT_FIELD_NUMBER: _ClassVar[int]
    UNTIL_EPOCH_FIELD_NUMBER: _ClassVar[int]
    at: _site_pb2.Moment
    until_epoch: int
    def __init__(self, at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ..., until_epoch: _Optional[int] = ...) -> None: ...

class BeginReset(_message.Message):
    __slots__ = ("at",)
    AT_FIELD_NUMBER: _ClassVar[int]
    at: _site_pb2.Moment
    def __init__(self, at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ...) -> None: ...

class ReopenSlot(_message.Message):
    __slots__ = ("at", "evidence")
    class EvidenceEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    AT_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    at: _site_pb2.Moment
    evidence: _containers.ScalarMap[str, float]
    def __init__(self, at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ..., evidence: _Optional[_Mapping[str, float]] = ...) -> None: ...

class TerminateSlot(_message.Message):
    __slots__ = ("at",)
    AT_FIELD_NUMBER: _ClassVar[int]
    at: _site_pb2.Moment
    def __init__(self, at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ...) -> None: ...

class RefuseSeedCommand(_message.Message):
    __slots__ = ("at", "command_type", "reason")
    AT_FIELD_NUMBER: _ClassVar[int]
    COMMAND_TYPE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    at: _site_pb2.Moment
    command_type: str
    reason: str
    def __init__(self, at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ..., command_type: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class SlotRegistered(_message.Message):
    __slots__ = ("site",)
    SITE_FIELD_NUMBER: _ClassVar[int]
    site: _site_pb2.Site
    def __init__(self, site: _Optional[_Union[_site_pb2.Site, _Mapping]] = ...) -> None: ...

class SeedGerminated(_message.Message):
    __slots__ = ("at", "blueprint_id", "parameters", "blend_mode", "shape", "init_seed", "kernel_key", "generation", "blend", "after_blending")
    class ParametersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    AT_FIELD_NUMBER: _ClassVar[int]
    BLUEPRINT_ID_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    BLEND_MODE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    INIT_SEED_FIELD_NUMBER: _ClassVar[int]
    KERNEL_KEY_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    BLEND_FIELD_NUMBER: _ClassVar[int]
    AFTER_BLENDING_FIELD_NUMBER: _ClassVar[int]
    at: _site_pb2.Moment
    blueprint_id: str
    parameters: _containers.ScalarMap[str, float]
    blend_mode: _enums_pb2.BlendMode
    shape: _site_pb2.SiteShape
    init_seed: int
    kernel_key: str
    generation: int
    blend: _site_pb2.BlendOptions
    after_blending: _enums_pb2.AfterBlending
    def __init__(self, at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ..., blueprint_id: _Optional[str] = ..., parameters: _Optional[_Mapping[str, float]] = ..., blend_mode: _Optional[_Union[_enums_pb2.BlendMode, str]] = ..., shape: _Optional[_Union[_site_pb2.SiteShape, _Mapping]] = ..., init_seed: _Optional[int] = ..., kernel_key: _Optional[str] = ..., generation: _Optional[int] = ..., blend: _Optional[_Union[_site_pb2.BlendOptions, _Mapping]] = ..., after_blending: _Optional[_Union[_enums_pb2.AfterBlending, str]] = ...) -> None: ...

class GateEvaluated(_message.Message):
    __slots__ = ("at", "gate", "profile", "passed", "checks_passed", "checks_failed", "inputs", "thresholds")
    class InputsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    class ThresholdsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    AT_FIELD_NUMBER: _ClassVar[int]
    GATE_FIELD_NUMBER: _ClassVar[int]
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    PASSED_FIELD_NUMBER: _ClassVar[int]
    CHECKS_PASSED_FIELD_NUMBER: _ClassVar[int]
    CHECKS_FAILED_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    THRESHOLDS_FIELD_NUMBER: _ClassVar[int]
    at: _site_pb2.Moment
    gate: _enums_pb2.SeedLifecycleGate
    profile: str
    passed: bool
    checks_passed: _containers.RepeatedScalarFieldContainer[str]
    checks_failed: _containers.RepeatedScalarFieldContainer[str]
    inputs: _containers.ScalarMap[str, float]
    thresholds: _containers.ScalarMap[str, float]
    def __init__(self, at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ..., gate: _Optional[_Union[_enums_pb2.SeedLifecycleGate, str]] = ..., profile: _Optional[str] = ..., passed: _Optional[bool] = ..., checks_passed: _Optional[_Iterable[str]] = ..., checks_failed: _Optional[_Iterable[str]] = ..., inputs: _Optional[_Mapping[str, float]] = ..., thresholds: _Optional[_Mapping[str, float]] = ...) -> None: ...

class KernelAttached(_message.Message):
    __slots__ = ("at", "kernel_id", "weights_sha256", "parameter_count")
    AT_FIELD_NUMBER: _ClassVar[int]
    KERNEL_ID_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_SHA256_FIELD_NUMBER: _ClassVar[int]
    PARAMETER_COUNT_FIELD_NUMBER: _ClassVar[int]
    at: _site_pb2.Moment
    kernel_id: str
    weights_sha256: str
    parameter_count: int
    def __init__(self, at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ..., kernel_id: _Optional[str] = ..., weights_sha256: _Optional[str] = ..., parameter_count: _Optional[int] = ...) -> None: ...

class KernelAttachFailed(_message.Message):
    __slots__ = ("at", "kernel_id", "reason", "detail")
    AT_FIELD_NUMBER: _ClassVar[int]
    KERNEL_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    at: _site_pb2.Moment
    kernel_id: str
    reason: str
    detail: str
    def __init__(self, at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ..., kernel_id: _Optional[str] = ..., reason: _Optional[str] = ..., detail: _Optional[str] = ...) -> None: ...

class SeedTrainingStarted(_message.Message):
    __slots__ = ("at",)
    AT_FIELD_NUMBER: _ClassVar[int]
    at: _site_pb2.Moment
    def __init__(self, at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ...) -> None: ...

class SeedBlendingStarted(_message.Message):
    __slots__ = ("at", "alpha_from", "alpha_target", "curve", "ramp_steps")
    AT_FIELD_NUMBER: _ClassVar[int]
    ALPHA_FROM_FIELD_NUMBER: _ClassVar[int]
    ALPHA_TARGET_FIELD_NUMBER: _ClassVar[int]
    CURVE_FIELD_NUMBER: _ClassVar[int]
    RAMP_STEPS_FIELD_NUMBER: _ClassVar[int]
    at: _site_pb2.Moment
    alpha_from: float
    alpha_target: float
    curve: _enums_pb2.AlphaCurve
    ramp_steps: int
    def __init__(self, at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ..., alpha_from: _Optional[float] = ..., alpha_target: _Optional[float] = ..., curve: _Optional[_Union[_enums_pb2.AlphaCurve, str]] = ..., ramp_steps: _Optional[int] = ...) -> None: ...

class AlphaRampCompleted(_message.Message):
    __slots__ = ("at", "alpha")
    AT_FIELD_NUMBER: _ClassVar[int]
    ALPHA_FIELD_NUMBER: _ClassVar[int]
    at: _site_pb2.Moment
    alpha: float
    def __init__(self, at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ..., alpha: _Optional[float] = ...) -> None: ...

class AlphaRampPaused(_message.Message):
    __slots__ = ("at", "alpha")
    AT_FIELD_NUMBER: _ClassVar[int]
    ALPHA_FIELD_NUMBER: _ClassVar[int]
    at: _site_pb2.Moment
    alpha: float
    def __init__(self, at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ..., alpha: _Optional[float] = ...) -> None: ...

class SeedShadowingStarted(_message.Message):
    __slots__ = ("at",)
    AT_FIELD_NUMBER: _ClassVar[int]
    at: _site_pb2.Moment
    def __init__(self, at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ...) -> None: ...

class SeedProbationStarted(_message.Message):
    __slots__ = ("at",)
    AT_FIELD_NUMBER: _ClassVar[int]
    at: _site_pb2.Moment
    def __init__(self, at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ...) -> None: ...

class SeedFossilized(_message.Message):
    __slots__ = ("at", "contribution")
    AT_FIELD_NUMBER: _ClassVar[int]
    CONTRIBUTION_FIELD_NUMBER: _ClassVar[int]
    at: _site_pb2.Moment
    contribution: float
    def __init__(self, at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ..., contribution: _Optional[float] = ...) -> None: ...

class SeedCulled(_message.Message):
    __slots__ = ("at", "reason", "initiator", "from_stage")
    AT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    INITIATOR_FIELD_NUMBER: _ClassVar[int]
    FROM_STAGE_FIELD_NUMBER: _ClassVar[int]
    at: _site_pb2.Moment
    reason: str
    initiator: _enums_pb2.CullInitiator
    from_stage: _enums_pb2.SeedLifecycleStage
    def __init__(self, at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ..., reason: _Optional[str] = ..., initiator: _Optional[_Union[_enums_pb2.CullInitiator, str]] = ..., from_stage: _Optional[_Union[_enums_pb2.SeedLifecycleStage, str]] = ...) -> None: ...

class SlotEmbargoed(_message.Message):
    __slots__ = ("at", "until_epoch")
    AT_FIELD_NUMBER: _ClassVar[int]
    UNTIL_EPOCH_FIELD_NUMBER: _ClassVar[int]
    at: _site_pb2.Moment
    until_epoch: int
    def __init__(self, at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ..., until_epoch: _Optional[int] = ...) -> None: ...

class SlotResetStarted(_message.Message):
    __slots__ = ("at",)
    AT_FIELD_NUMBER: _ClassVar[int]
    at: _site_pb2.Moment
    def __init__(self, at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ...) -> None: ...

class SlotReopened(_message.Message):
    __slots__ = ("at",)
    AT_FIELD_NUMBER: _ClassVar[int]
    at: _site_pb2.Moment
    def __init__(self, at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ...) -> None: ...

class SlotTerminated(_message.Message):
    __slots__ = ("at",)
    AT_FIELD_NUMBER: _ClassVar[int]
    at: _site_pb2.Moment
    def __init__(self, at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ...) -> None: ...

class SeedCommandRefused(_message.Message):
    __slots__ = ("at", "command_type", "reason")
    AT_FIELD_NUMBER: _ClassVar[int]
    COMMAND_TYPE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    at: _site_pb2.Moment
    command_type: str
    reason: str
    def __init__(self, at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ..., command_type: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class AlphaRamp(_message.Message):
    __slots__ = ("start_step", "total_steps", "start", "target", "curve")
    START_STEP_FIELD_NUMBER: _ClassVar[int]
    TOTAL_STEPS_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    CURVE_FIELD_NUMBER: _ClassVar[int]
    start_step: int
    total_steps: int
    start: float
    target: float
    curve: _enums_pb2.AlphaCurve
    def __init__(self, start_step: _Optional[int] = ..., total_steps: _Optional[int] = ..., start: _Optional[float] = ..., target: _Optional[float] = ..., curve: _Optional[_Union[_enums_pb2.AlphaCurve, str]] = ...) -> None: ...

class SlotState(_message.Message):
    __slots__ = ("stage", "shape", "generation", "blueprint_id", "parameters", "blend_mode", "init_seed", "kernel_key", "kernel_id", "parameter_count", "since_step", "since_epoch", "germinated_epoch", "ramp", "ramp_completed", "contribution", "embargo_until_epoch", "cull_reason", "blend", "ramp_paused", "after_blending")
    class ParametersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    STAGE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    BLUEPRINT_ID_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    BLEND_MODE_FIELD_NUMBER: _ClassVar[int]
    INIT_SEED_FIELD_NUMBER: _ClassVar[int]
    KERNEL_KEY_FIELD_NUMBER: _ClassVar[int]
    KERNEL_ID_FIELD_NUMBER: _ClassVar[int]
    PARAMETER_COUNT_FIELD_NUMBER: _ClassVar[int]
    SINCE_STEP_FIELD_NUMBER: _ClassVar[int]
    SINCE_EPOCH_FIELD_NUMBER: _ClassVar[int]
    GERMINATED_EPOCH_FIELD_NUMBER: _ClassVar[int]
    RAMP_FIELD_NUMBER: _ClassVar[int]
    RAMP_COMPLETED_FIELD_NUMBER: _ClassVar[int]
    CONTRIBUTION_FIELD_NUMBER: _ClassVar[int]
    EMBARGO_UNTIL_EPOCH_FIELD_NUMBER: _ClassVar[int]
    CULL_REASON_FIELD_NUMBER: _ClassVar[int]
    BLEND_FIELD_NUMBER: _ClassVar[int]
    RAMP_PAUSED_FIELD_NUMBER: _ClassVar[int]
    AFTER_BLENDING_FIELD_NUMBER: _ClassVar[int]
    stage: _enums_pb2.SeedLifecycleStage
    shape: _site_pb2.SiteShape
    generation: int
    blueprint_id: str
    parameters: _containers.ScalarMap[str, float]
    blend_mode: _enums_pb2.BlendMode
    init_seed: int
    kernel_key: str
    kernel_id: str
    parameter_count: int
    since_step: int
    since_epoch: int
    germinated_epoch: int
    ramp: AlphaRamp
    ramp_completed: bool
    contribution: float
    embargo_until_epoch: int
    cull_reason: str
    blend: _site_pb2.BlendOptions
    ramp_paused: bool
    after_blending: _enums_pb2.AfterBlending
    def __init__(self, stage: _Optional[_Union[_enums_pb2.SeedLifecycleStage, str]] = ..., shape: _Optional[_Union[_site_pb2.SiteShape, _Mapping]] = ..., generation: _Optional[int] = ..., blueprint_id: _Optional[str] = ..., parameters: _Optional[_Mapping[str, float]] = ..., blend_mode: _Optional[_Union[_enums_pb2.BlendMode, str]] = ..., init_seed: _Optional[int] = ..., kernel_key: _Optional[str] = ..., kernel_id: _Optional[str] = ..., parameter_count: _Optional[int] = ..., since_step: _Optional[int] = ..., since_epoch: _Optional[int] = ..., germinated_epoch: _Optional[int] = ..., ramp: _Optional[_Union[AlphaRamp, _Mapping]] = ..., ramp_completed: _Optional[bool] = ..., contribution: _Optional[float] = ..., embargo_until_epoch: _Optional[int] = ..., cull_reason: _Optional[str] = ..., blend: _Optional[_Union[_site_pb2.BlendOptions, _Mapping]] = ..., ramp_paused: _Optional[bool] = ..., after_blending: _Optional[_Union[_enums_pb2.AfterBlending, str]] = ...) -> None: ...

class RebaseSeed(_message.Message):
    __slots__ = ("at", "timeline", "checkpoint_id", "to_version", "state", "cull_reason")
    AT_FIELD_NUMBER: _ClassVar[int]
    TIMELINE_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_ID_FIELD_NUMBER: _ClassVar[int]
    TO_VERSION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CULL_REASON_FIELD_NUMBER: _ClassVar[int]
    at: _site_pb2.Moment
    timeline: int
    checkpoint_id: str
    to_version: int
    state: SlotState
    cull_reason: str
    def __init__(self, at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ..., timeline: _Optional[int] = ..., checkpoint_id: _Optional[str] = ..., to_version: _Optional[int] = ..., state: _Optional[_Union[SlotState, _Mapping]] = ..., cull_reason: _Optional[str] = ...) -> None: ...

class SeedRebased(_message.Message):
    __slots__ = ("at", "timeline", "checkpoint_id", "to_version", "state")
    AT_FIELD_NUMBER: _ClassVar[int]
    TIMELINE_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_ID_FIELD_NUMBER: _ClassVar[int]
    TO_VERSION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    at: _site_pb2.Moment
    timeline: int
    checkpoint_id: str
    to_version: int
    state: SlotState
    def __init__(self, at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ..., timeline: _Optional[int] = ..., checkpoint_id: _Optional[str] = ..., to_version: _Optional[int] = ..., state: _Optional[_Union[SlotState, _Mapping]] = ...) -> None: ...
