from esper.leyline.v1 import enums_pb2 as _enums_pb2
from esper.leyline.v1 import run_pb2 as _run_pb2
from esper.leyline.v1 import seed_pb2 as _seed_pb2
from esper.leyline.v1 import site_pb2 as _site_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Candidate(_message.Message):
    __slots__ = ("blueprint_id", "parameters", "blend_mode", "parameter_count", "risk", "seed_id", "blueprint_version")
    class ParametersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    BLUEPRINT_ID_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    BLEND_MODE_FIELD_NUMBER: _ClassVar[int]
    PARAMETER_COUNT_FIELD_NUMBER: _ClassVar[int]
    RISK_FIELD_NUMBER: _ClassVar[int]
    SEED_ID_FIELD_NUMBER: _ClassVar[int]
    BLUEPRINT_VERSION_FIELD_NUMBER: _ClassVar[int]
    blueprint_id: str
    parameters: _containers.ScalarMap[str, float]
    blend_mode: _enums_pb2.BlendMode
    parameter_count: int
    risk: float
    seed_id: str
    blueprint_version: str
    def __init__(self, blueprint_id: _Optional[str] = ..., parameters: _Optional[_Mapping[str, float]] = ..., blend_mode: _Optional[_Union[_enums_pb2.BlendMode, str]] = ..., parameter_count: _Optional[int] = ..., risk: _Optional[float] = ..., seed_id: _Optional[str] = ..., blueprint_version: _Optional[str] = ...) -> None: ...

class JudgeEpoch(_message.Message):
    __slots__ = ("facts", "candidates", "observation_id", "seed", "steps_per_epoch", "torch_version", "after_blending")
    FACTS_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    OBSERVATION_ID_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    STEPS_PER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    TORCH_VERSION_FIELD_NUMBER: _ClassVar[int]
    AFTER_BLENDING_FIELD_NUMBER: _ClassVar[int]
    facts: _run_pb2.EpochFacts
    candidates: _containers.RepeatedCompositeFieldContainer[Candidate]
    observation_id: str
    seed: int
    steps_per_epoch: int
    torch_version: str
    after_blending: _enums_pb2.AfterBlending
    def __init__(self, facts: _Optional[_Union[_run_pb2.EpochFacts, _Mapping]] = ..., candidates: _Optional[_Iterable[_Union[Candidate, _Mapping]]] = ..., observation_id: _Optional[str] = ..., seed: _Optional[int] = ..., steps_per_epoch: _Optional[int] = ..., torch_version: _Optional[str] = ..., after_blending: _Optional[_Union[_enums_pb2.AfterBlending, str]] = ...) -> None: ...

class DecisionMade(_message.Message):
    __slots__ = ("at", "action", "seed_id", "blueprint_id", "reason", "inputs", "thresholds", "policy_version", "observation_id", "germinate", "blend", "shadow", "fossilize", "cull")
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
    ACTION_FIELD_NUMBER: _ClassVar[int]
    SEED_ID_FIELD_NUMBER: _ClassVar[int]
    BLUEPRINT_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    THRESHOLDS_FIELD_NUMBER: _ClassVar[int]
    POLICY_VERSION_FIELD_NUMBER: _ClassVar[int]
    OBSERVATION_ID_FIELD_NUMBER: _ClassVar[int]
    GERMINATE_FIELD_NUMBER: _ClassVar[int]
    BLEND_FIELD_NUMBER: _ClassVar[int]
    SHADOW_FIELD_NUMBER: _ClassVar[int]
    FOSSILIZE_FIELD_NUMBER: _ClassVar[int]
    CULL_FIELD_NUMBER: _ClassVar[int]
    at: _site_pb2.Moment
    action: _enums_pb2.DecisionAction
    seed_id: str
    blueprint_id: str
    reason: str
    inputs: _containers.ScalarMap[str, float]
    thresholds: _containers.ScalarMap[str, float]
    policy_version: str
    observation_id: str
    germinate: _seed_pb2.GerminateSeed
    blend: _seed_pb2.BeginBlending
    shadow: _seed_pb2.BeginShadowing
    fossilize: _seed_pb2.FossilizeSeed
    cull: _seed_pb2.CullSeed
    def __init__(self, at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ..., action: _Optional[_Union[_enums_pb2.DecisionAction, str]] = ..., seed_id: _Optional[str] = ..., blueprint_id: _Optional[str] = ..., reason: _Optional[str] = ..., inputs: _Optional[_Mapping[str, float]] = ..., thresholds: _Optional[_Mapping[str, float]] = ..., policy_version: _Optional[str] = ..., observation_id: _Optional[str] = ..., germinate: _Optional[_Union[_seed_pb2.GerminateSeed, _Mapping]] = ..., blend: _Optional[_Union[_seed_pb2.BeginBlending, _Mapping]] = ..., shadow: _Optional[_Union[_seed_pb2.BeginShadowing, _Mapping]] = ..., fossilize: _Optional[_Union[_seed_pb2.FossilizeSeed, _Mapping]] = ..., cull: _Optional[_Union[_seed_pb2.CullSeed, _Mapping]] = ...) -> None: ...

class MissDecision(_message.Message):
    __slots__ = ("at", "reason")
    AT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    at: _site_pb2.Moment
    reason: str
    def __init__(self, at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ..., reason: _Optional[str] = ...) -> None: ...

class DecisionMissed(_message.Message):
    __slots__ = ("at", "reason")
    AT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    at: _site_pb2.Moment
    reason: str
    def __init__(self, at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ..., reason: _Optional[str] = ...) -> None: ...

class WithdrawDecision(_message.Message):
    __slots__ = ("at", "decision_id", "action", "seed_id", "blueprint_id", "reason")
    AT_FIELD_NUMBER: _ClassVar[int]
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    SEED_ID_FIELD_NUMBER: _ClassVar[int]
    BLUEPRINT_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    at: _site_pb2.Moment
    decision_id: str
    action: _enums_pb2.DecisionAction
    seed_id: str
    blueprint_id: str
    reason: str
    def __init__(self, at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ..., decision_id: _Optional[str] = ..., action: _Optional[_Union[_enums_pb2.DecisionAction, str]] = ..., seed_id: _Optional[str] = ..., blueprint_id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class DecisionWithdrawn(_message.Message):
    __slots__ = ("at", "decision_id", "action", "seed_id", "blueprint_id", "reason")
    AT_FIELD_NUMBER: _ClassVar[int]
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    SEED_ID_FIELD_NUMBER: _ClassVar[int]
    BLUEPRINT_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    at: _site_pb2.Moment
    decision_id: str
    action: _enums_pb2.DecisionAction
    seed_id: str
    blueprint_id: str
    reason: str
    def __init__(self, at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ..., decision_id: _Optional[str] = ..., action: _Optional[_Union[_enums_pb2.DecisionAction, str]] = ..., seed_id: _Optional[str] = ..., blueprint_id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class RememberedLife(_message.Message):
    __slots__ = ("seed_id", "generation", "blueprint_id", "germinated_epoch", "score_at_germination", "ended")
    SEED_ID_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    BLUEPRINT_ID_FIELD_NUMBER: _ClassVar[int]
    GERMINATED_EPOCH_FIELD_NUMBER: _ClassVar[int]
    SCORE_AT_GERMINATION_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    seed_id: str
    generation: int
    blueprint_id: str
    germinated_epoch: int
    score_at_germination: float
    ended: bool
    def __init__(self, seed_id: _Optional[str] = ..., generation: _Optional[int] = ..., blueprint_id: _Optional[str] = ..., germinated_epoch: _Optional[int] = ..., score_at_germination: _Optional[float] = ..., ended: _Optional[bool] = ...) -> None: ...

class RememberedPenalty(_message.Message):
    __slots__ = ("blueprint_id", "amount", "epoch")
    BLUEPRINT_ID_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    blueprint_id: str
    amount: float
    epoch: int
    def __init__(self, blueprint_id: _Optional[str] = ..., amount: _Optional[float] = ..., epoch: _Optional[int] = ...) -> None: ...

class RememberedFailures(_message.Message):
    __slots__ = ("seed_id", "blueprint_id", "count")
    SEED_ID_FIELD_NUMBER: _ClassVar[int]
    BLUEPRINT_ID_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    seed_id: str
    blueprint_id: str
    count: int
    def __init__(self, seed_id: _Optional[str] = ..., blueprint_id: _Optional[str] = ..., count: _Optional[int] = ...) -> None: ...

class RememberedAction(_message.Message):
    __slots__ = ("seed_id", "action")
    SEED_ID_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    seed_id: str
    action: _enums_pb2.DecisionAction
    def __init__(self, seed_id: _Optional[str] = ..., action: _Optional[_Union[_enums_pb2.DecisionAction, str]] = ...) -> None: ...

class Memory(_message.Message):
    __slots__ = ("lives", "penalties", "failures", "last", "missed")
    LIVES_FIELD_NUMBER: _ClassVar[int]
    PENALTIES_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    MISSED_FIELD_NUMBER: _ClassVar[int]
    lives: _containers.RepeatedCompositeFieldContainer[RememberedLife]
    penalties: _containers.RepeatedCompositeFieldContainer[RememberedPenalty]
    failures: _containers.RepeatedCompositeFieldContainer[RememberedFailures]
    last: _containers.RepeatedCompositeFieldContainer[RememberedAction]
    missed: int
    def __init__(self, lives: _Optional[_Iterable[_Union[RememberedLife, _Mapping]]] = ..., penalties: _Optional[_Iterable[_Union[RememberedPenalty, _Mapping]]] = ..., failures: _Optional[_Iterable[_Union[RememberedFailures, _Mapping]]] = ..., last: _Optional[_Iterable[_Union[RememberedAction, _Mapping]]] = ..., missed: _Optional[int] = ...) -> None: ...

class RebaseMemory(_message.Message):
    __slots__ = ("at", "timeline", "memory")
    AT_FIELD_NUMBER: _ClassVar[int]
    TIMELINE_FIELD_NUMBER: _ClassVar[int]
    MEMORY_FIELD_NUMBER: _ClassVar[int]
    at: _site_pb2.Moment
    timeline: int
    memory: Memory
    def __init__(self, at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ..., timeline: _Optional[int] = ..., memory: _Optional[_Union[Memory, _Mapping]] = ...) -> None: ...

class MemoryRebased(_message.Message):
    __slots__ = ("at", "timeline", "memory")
    AT_FIELD_NUMBER: _ClassVar[int]
    TIMELINE_FIELD_NUMBER: _ClassVar[int]
    MEMORY_FIELD_NUMBER: _ClassVar[int]
    at: _site_pb2.Moment
    timeline: int
    memory: Memory
    def __init__(self, at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ..., timeline: _Optional[int] = ..., memory: _Optional[_Union[Memory, _Mapping]] = ...) -> None: ...
