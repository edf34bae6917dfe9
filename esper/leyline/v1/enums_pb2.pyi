from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from typing import ClassVar as _ClassVar

DESCRIPTOR: _descriptor.FileDescriptor

class SeedLifecycleStage(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SEED_STAGE_UNKNOWN: _ClassVar[SeedLifecycleStage]
    SEED_STAGE_DORMANT: _ClassVar[SeedLifecycleStage]
    SEED_STAGE_GERMINATED: _ClassVar[SeedLifecycleStage]
    SEED_STAGE_TRAINING: _ClassVar[SeedLifecycleStage]
    SEED_STAGE_BLENDING: _ClassVar[SeedLifecycleStage]
    SEED_STAGE_SHADOWING: _ClassVar[SeedLifecycleStage]
    SEED_STAGE_PROBATIONARY: _ClassVar[SeedLifecycleStage]
    SEED_STAGE_FOSSILIZED: _ClassVar[SeedLifecycleStage]
    SEED_STAGE_CULLED: _ClassVar[SeedLifecycleStage]
    SEED_STAGE_EMBARGOED: _ClassVar[SeedLifecycleStage]
    SEED_STAGE_RESETTING: _ClassVar[SeedLifecycleStage]
    SEED_STAGE_TERMINATED: _ClassVar[SeedLifecycleStage]

class SeedLifecycleGate(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SEED_GATE_UNKNOWN: _ClassVar[SeedLifecycleGate]
    SEED_GATE_G0_SANITY: _ClassVar[SeedLifecycleGate]
    SEED_GATE_G1_GRADIENT_HEALTH: _ClassVar[SeedLifecycleGate]
    SEED_GATE_G2_STABILITY: _ClassVar[SeedLifecycleGate]
    SEED_GATE_G3_INTERFACE: _ClassVar[SeedLifecycleGate]
    SEED_GATE_G4_SYSTEM_IMPACT: _ClassVar[SeedLifecycleGate]
    SEED_GATE_G5_RESET: _ClassVar[SeedLifecycleGate]

class BlendMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BLEND_MODE_UNKNOWN: _ClassVar[BlendMode]
    BLEND_MODE_CONVEX: _ClassVar[BlendMode]
    BLEND_MODE_RESIDUAL: _ClassVar[BlendMode]
    BLEND_MODE_CHANNEL: _ClassVar[BlendMode]
    BLEND_MODE_CONFIDENCE: _ClassVar[BlendMode]
    BLEND_MODE_MULTIPLY: _ClassVar[BlendMode]
    BLEND_MODE_GATE: _ClassVar[BlendMode]

class AfterBlending(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    AFTER_BLENDING_UNSPECIFIED: _ClassVar[AfterBlending]
    AFTER_BLENDING_SHARE: _ClassVar[AfterBlending]
    AFTER_BLENDING_COADAPT: _ClassVar[AfterBlending]
    AFTER_BLENDING_FREEZE: _ClassVar[AfterBlending]

class AlphaCurve(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ALPHA_CURVE_UNSPECIFIED: _ClassVar[AlphaCurve]
    ALPHA_CURVE_LINEAR: _ClassVar[AlphaCurve]
    ALPHA_CURVE_COSINE: _ClassVar[AlphaCurve]
    ALPHA_CURVE_SIGMOID: _ClassVar[AlphaCurve]

class SiteKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SITE_KIND_UNSPECIFIED: _ClassVar[SiteKind]
    SITE_KIND_VECTOR: _ClassVar[SiteKind]
    SITE_KIND_SEQUENCE: _ClassVar[SiteKind]
    SITE_KIND_IMAGE: _ClassVar[SiteKind]

class BlueprintTier(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BLUEPRINT_TIER_UNSPECIFIED: _ClassVar[BlueprintTier]
    BLUEPRINT_TIER_SAFE: _ClassVar[BlueprintTier]
    BLUEPRINT_TIER_EXPERIMENTAL: _ClassVar[BlueprintTier]
    BLUEPRINT_TIER_HIGH_RISK: _ClassVar[BlueprintTier]

class FieldReportOutcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FIELD_REPORT_OUTCOME_UNSPECIFIED: _ClassVar[FieldReportOutcome]
    FIELD_REPORT_OUTCOME_SUCCESS: _ClassVar[FieldReportOutcome]
    FIELD_REPORT_OUTCOME_NEUTRAL: _ClassVar[FieldReportOutcome]
    FIELD_REPORT_OUTCOME_REGRESSION: _ClassVar[FieldReportOutcome]
    FIELD_REPORT_OUTCOME_ABORTED: _ClassVar[FieldReportOutcome]

class DecisionAction(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DECISION_ACTION_UNSPECIFIED: _ClassVar[DecisionAction]
    DECISION_ACTION_WAIT: _ClassVar[DecisionAction]
    DECISION_ACTION_GERMINATE: _ClassVar[DecisionAction]
    DECISION_ACTION_BLEND: _ClassVar[DecisionAction]
    DECISION_ACTION_SHADOW: _ClassVar[DecisionAction]
    DECISION_ACTION_FOSSILIZE: _ClassVar[DecisionAction]
    DECISION_ACTION_CULL: _ClassVar[DecisionAction]

class CullInitiator(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CULL_INITIATOR_UNSPECIFIED: _ClassVar[CullInitiator]
    CULL_INITIATOR_GATE: _ClassVar[CullInitiator]
    CULL_INITIATOR_POLICY: _ClassVar[CullInitiator]
    CULL_INITIATOR_OPERATOR: _ClassVar[CullInitiator]
    CULL_INITIATOR_RUNTIME: _ClassVar[CullInitiator]

class RollbackMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROLLBACK_MODE_UNSPECIFIED: _ClassVar[RollbackMode]
    ROLLBACK_MODE_RESTORE: _ClassVar[RollbackMode]
    ROLLBACK_MODE_STABILISE: _ClassVar[RollbackMode]

class RollbackTier(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROLLBACK_TIER_UNSPECIFIED: _ClassVar[RollbackTier]
    ROLLBACK_TIER_FAST: _ClassVar[RollbackTier]
    ROLLBACK_TIER_FULL: _ClassVar[RollbackTier]

class CompileStage(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    COMPILE_STAGE_UNSPECIFIED: _ClassVar[CompileStage]
    COMPILE_STAGE_VALIDATE: _ClassVar[CompileStage]
    COMPILE_STAGE_BUILD: _ClassVar[CompileStage]
    COMPILE_STAGE_EXPORT: _ClassVar[CompileStage]
    COMPILE_STAGE_COMPILE: _ClassVar[CompileStage]
    COMPILE_STAGE_VERIFY: _ClassVar[CompileStage]
    COMPILE_STAGE_PREWARM: _ClassVar[CompileStage]
    COMPILE_STAGE_PACKAGE: _ClassVar[CompileStage]

class EngineVerdict(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ENGINE_VERDICT_UNSPECIFIED: _ClassVar[EngineVerdict]
    ENGINE_VERDICT_EAGER: _ClassVar[EngineVerdict]
    ENGINE_VERDICT_COMPILED: _ClassVar[EngineVerdict]

class CircuitBreakerState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CIRCUIT_STATE_UNKNOWN: _ClassVar[CircuitBreakerState]
    CIRCUIT_STATE_CLOSED: _ClassVar[CircuitBreakerState]
    CIRCUIT_STATE_OPEN: _ClassVar[CircuitBreakerState]
    CIRCUIT_STATE_HALF_OPEN: _ClassVar[CircuitBreakerState]

class EmergencyLevel(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EMERGENCY_LEVEL_UNSPECIFIED: _ClassVar[EmergencyLevel]
    EMERGENCY_LEVEL_NOTICE: _ClassVar[EmergencyLevel]
    EMERGENCY_LEVEL_ELEVATED: _ClassVar[EmergencyLevel]
    EMERGENCY_LEVEL_CONSERVATIVE: _ClassVar[EmergencyLevel]
    EMERGENCY_LEVEL_HALT: _ClassVar[EmergencyLevel]

class MessagePriority(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MESSAGE_PRIORITY_UNSPECIFIED: _ClassVar[MessagePriority]
    MESSAGE_PRIORITY_LOW: _ClassVar[MessagePriority]
    MESSAGE_PRIORITY_NORMAL: _ClassVar[MessagePriority]
    MESSAGE_PRIORITY_HIGH: _ClassVar[MessagePriority]
    MESSAGE_PRIORITY_CRITICAL: _ClassVar[MessagePriority]
    MESSAGE_PRIORITY_EMERGENCY: _ClassVar[MessagePriority]
SEED_STAGE_UNKNOWN: SeedLifecycleStage
SEED_STAGE_DORMANT: SeedLifecycleStage
SEED_STAGE_GERMINATED: SeedLifecycleStage
SEED_STAGE_TRAINING: SeedLifecycleStage
SEED_STAGE_BLENDING: SeedLifecycleStage
SEED_STAGE_SHADOWING: SeedLifecycleStage
SEED_STAGE_PROBATIONARY: SeedLifecycleStage
SEED_STAGE_FOSSILIZED: SeedLifecycleStage
SEED_STAGE_CULLED: SeedLifecycleStage
SEED_STAGE_EMBARGOED: SeedLifecycleStage
SEED_STAGE_RESETTING: SeedLifecycleStage
SEED_STAGE_TERMINATED: SeedLifecycleStage
SEED_GATE_UNKNOWN: SeedLifecycleGate
SEED_GATE_G0_SANITY: SeedLifecycleGate
SEED_GATE_G1_GRADIENT_HEALTH: SeedLifecycleGate
SEED_GATE_G2_STABILITY: SeedLifecycleGate
SEED_GATE_G3_INTERFACE: SeedLifecycleGate
SEED_GATE_G4_SYSTEM_IMPACT: SeedLifecycleGate
SEED_GATE_G5_RESET: SeedLifecycleGate
BLEND_MODE_UNKNOWN: BlendMode
BLEND_MODE_CONVEX: BlendMode
BLEND_MODE_RESIDUAL: BlendMode
BLEND_MODE_CHANNEL: BlendMode
BLEND_MODE_CONFIDENCE: BlendMode
BLEND_MODE_MULTIPLY: BlendMode
BLEND_MODE_GATE: BlendMode
AFTER_BLENDING_UNSPECIFIED: AfterBlending
AFTER_BLENDING_SHARE: AfterBlending
AFTER_BLENDING_COADAPT: AfterBlending
AFTER_BLENDING_FREEZE: AfterBlending
ALPHA_CURVE_UNSPECIFIED: AlphaCurve
ALPHA_CURVE_LINEAR: AlphaCurve
ALPHA_CURVE_COSINE: AlphaCurve
ALPHA_CURVE_SIGMOID: AlphaCurve
SITE_KIND_UNSPECIFIED: SiteKind
SITE_KIND_VECTOR: SiteKind
SITE_KIND_SEQUENCE: SiteKind
SITE_KIND_IMAGE: SiteKind
BLUEPRINT_TIER_UNSPECIFIED: BlueprintTier
BLUEPRINT_TIER_SAFE: BlueprintTier
BLUEPRINT_TIER_EXPERIMENTAL: BlueprintTier
BLUEPRINT_TIER_HIGH_RISK: BlueprintTier
FIELD_REPORT_OUTCOME_UNSPECIFIED: FieldReportOutcome
FIELD_REPORT_OUTCOME_SUCCESS: FieldReportOutcome
FIELD_REPORT_OUTCOME_NEUTRAL: FieldReportOutcome
FIELD_REPORT_OUTCOME_REGRESSION: FieldReportOutcome
FIELD_REPORT_OUTCOME_ABORTED: FieldReportOutcome
DECISION_ACTION_UNSPECIFIED: DecisionAction
DECISION_ACTION_WAIT: DecisionAction
DECISION_ACTION_GERMINATE: DecisionAction
DECISION_ACTION_BLEND: DecisionAction
DECISION_ACTION_SHADOW: DecisionAction
DECISION_ACTION_FOSSILIZE: DecisionAction
DECISION_ACTION_CULL: DecisionAction
CULL_INITIATOR_UNSPECIFIED: CullInitiator
CULL_INITIATOR_GATE: CullInitiator
CULL_INITIATOR_POLICY: CullInitiator
CULL_INITIATOR_OPERATOR: CullInitiator
CULL_INITIATOR_RUNTIME: CullInitiator
ROLLBACK_MODE_UNSPECIFIED: RollbackMode
ROLLBACK_MODE_RESTORE: RollbackMode
ROLLBACK_MODE_STABILISE: RollbackMode
ROLLBACK_TIER_UNSPECIFIED: RollbackTier
ROLLBACK_TIER_FAST: RollbackTier
ROLLBACK_TIER_FULL: RollbackTier
COMPILE_STAGE_UNSPECIFIED: CompileStage
COMPILE_STAGE_VALIDATE: CompileStage
COMPILE_STAGE_BUILD: CompileStage
COMPILE_STAGE_EXPORT: CompileStage
COMPILE_STAGE_COMPILE: CompileStage
COMPILE_STAGE_VERIFY: CompileStage
COMPILE_STAGE_PREWARM: CompileStage
COMPILE_STAGE_PACKAGE: CompileStage
ENGINE_VERDICT_UNSPECIFIED: EngineVerdict
ENGINE_VERDICT_EAGER: EngineVerdict
ENGINE_VERDICT_COMPILED: EngineVerdict
CIRCUIT_STATE_UNKNOWN: CircuitBreakerState
CIRCUIT_STATE_CLOSED: CircuitBreakerState
CIRCUIT_STATE_OPEN: CircuitBreakerState
CIRCUIT_STATE_HALF_OPEN: CircuitBreakerState
EMERGENCY_LEVEL_UNSPECIFIED: EmergencyLevel
EMERGENCY_LEVEL_NOTICE: EmergencyLevel
EMERGENCY_LEVEL_ELEVATED: EmergencyLevel
EMERGENCY_LEVEL_CONSERVATIVE: EmergencyLevel
EMERGENCY_LEVEL_HALT: EmergencyLevel
MESSAGE_PRIORITY_UNSPECIFIED: MessagePriority
MESSAGE_PRIORITY_LOW: MessagePriority
MESSAGE_PRIORITY_NORMAL: MessagePriority
MESSAGE_PRIORITY_HIGH: MessagePriority
MESSAGE_PRIORITY_CRITICAL: MessagePriority
MESSAGE_PRIORITY_EMERGENCY: MessagePriority
