from esper.leyline.v1 import enums_pb2 as _enums_pb2
from esper.leyline.v1 import kernel_pb2 as _kernel_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CompileBlueprint(_message.Message):
    __slots__ = ("spec", "requester")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    REQUESTER_FIELD_NUMBER: _ClassVar[int]
    spec: _kernel_pb2.KernelSpec
    requester: str
    def __init__(self, spec: _Optional[_Union[_kernel_pb2.KernelSpec, _Mapping]] = ..., requester: _Optional[str] = ...) -> None: ...

class StartCompileAttempt(_message.Message):
    __slots__ = ("forge_epoch", "timeout_s")
    FORGE_EPOCH_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_S_FIELD_NUMBER: _ClassVar[int]
    forge_epoch: int
    timeout_s: float
    def __init__(self, forge_epoch: _Optional[int] = ..., timeout_s: _Optional[float] = ...) -> None: ...

class CompileStageTiming(_message.Message):
    __slots__ = ("stage", "duration_ms", "sha256", "detail")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    DURATION_MS_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    stage: _enums_pb2.CompileStage
    duration_ms: float
    sha256: str
    detail: str
    def __init__(self, stage: _Optional[_Union[_enums_pb2.CompileStage, str]] = ..., duration_ms: _Optional[float] = ..., sha256: _Optional[str] = ..., detail: _Optional[str] = ...) -> None: ...

class CompiledKernel(_message.Message):
    __slots__ = ("kernel_id", "bytes", "guard_digest", "verdict", "compile_ms", "eager_ms", "compiled_ms", "eager_fallback", "fallback_reason", "peak_rss_mib", "stages")
    KERNEL_ID_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    GUARD_DIGEST_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    COMPILE_MS_FIELD_NUMBER: _ClassVar[int]
    EAGER_MS_FIELD_NUMBER: _ClassVar[int]
    COMPILED_MS_FIELD_NUMBER: _ClassVar[int]
    EAGER_FALLBACK_FIELD_NUMBER: _ClassVar[int]
    FALLBACK_REASON_FIELD_NUMBER: _ClassVar[int]
    PEAK_RSS_MIB_FIELD_NUMBER: _ClassVar[int]
    STAGES_FIELD_NUMBER: _ClassVar[int]
    kernel_id: str
    bytes: int
    guard_digest: str
    verdict: _enums_pb2.EngineVerdict
    compile_ms: float
    eager_ms: _containers.RepeatedScalarFieldContainer[float]
    compiled_ms: _containers.RepeatedScalarFieldContainer[float]
    eager_fallback: bool
    fallback_reason: str
    peak_rss_mib: float
    stages: _containers.RepeatedCompositeFieldContainer[CompileStageTiming]
    def __init__(self, kernel_id: _Optional[str] = ..., bytes: _Optional[int] = ..., guard_digest: _Optional[str] = ..., verdict: _Optional[_Union[_enums_pb2.EngineVerdict, str]] = ..., compile_ms: _Optional[float] = ..., eager_ms: _Optional[_Iterable[float]] = ..., compiled_ms: _Optional[_Iterable[float]] = ..., eager_fallback: _Optional[bool] = ..., fallback_reason: _Optional[str] = ..., peak_rss_mib: _Optional[float] = ..., stages: _Optional[_Iterable[_Union[CompileStageTiming, _Mapping]]] = ...) -> None: ...

class FinishCompile(_message.Message):
    __slots__ = ("forge_epoch", "attempt", "kernel")
    FORGE_EPOCH_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    KERNEL_FIELD_NUMBER: _ClassVar[int]
    forge_epoch: int
    attempt: int
    kernel: CompiledKernel
    def __init__(self, forge_epoch: _Optional[int] = ..., attempt: _Optional[int] = ..., kernel: _Optional[_Union[CompiledKernel, _Mapping]] = ...) -> None: ...

class FailCompileAttempt(_message.Message):
    __slots__ = ("forge_epoch", "attempt", "reason", "detail", "stages")
    FORGE_EPOCH_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    STAGES_FIELD_NUMBER: _ClassVar[int]
    forge_epoch: int
    attempt: int
    reason: str
    detail: str
    stages: _containers.RepeatedCompositeFieldContainer[CompileStageTiming]
    def __init__(self, forge_epoch: _Optional[int] = ..., attempt: _Optional[int] = ..., reason: _Optional[str] = ..., detail: _Optional[str] = ..., stages: _Optional[_Iterable[_Union[CompileStageTiming, _Mapping]]] = ...) -> None: ...

class CompileJobQueued(_message.Message):
    __slots__ = ("spec", "requester")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    REQUESTER_FIELD_NUMBER: _ClassVar[int]
    spec: _kernel_pb2.KernelSpec
    requester: str
    def __init__(self, spec: _Optional[_Union[_kernel_pb2.KernelSpec, _Mapping]] = ..., requester: _Optional[str] = ...) -> None: ...

class CompileAttemptStarted(_message.Message):
    __slots__ = ("forge_epoch", "attempt", "timeout_s")
    FORGE_EPOCH_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_S_FIELD_NUMBER: _ClassVar[int]
    forge_epoch: int
    attempt: int
    timeout_s: float
    def __init__(self, forge_epoch: _Optional[int] = ..., attempt: _Optional[int] = ..., timeout_s: _Optional[float] = ...) -> None: ...

class CompileStageCompleted(_message.Message):
    __slots__ = ("attempt", "timing")
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    attempt: int
    timing: CompileStageTiming
    def __init__(self, attempt: _Optional[int] = ..., timing: _Optional[_Union[CompileStageTiming, _Mapping]] = ...) -> None: ...

class KernelCompiled(_message.Message):
    __slots__ = ("attempt", "kernel", "spec")
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    KERNEL_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    attempt: int
    kernel: CompiledKernel
    spec: _kernel_pb2.KernelSpec
    def __init__(self, attempt: _Optional[int] = ..., kernel: _Optional[_Union[CompiledKernel, _Mapping]] = ..., spec: _Optional[_Union[_kernel_pb2.KernelSpec, _Mapping]] = ...) -> None: ...

class CompileAttemptFailed(_message.Message):
    __slots__ = ("attempt", "reason", "detail", "will_retry")
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    WILL_RETRY_FIELD_NUMBER: _ClassVar[int]
    attempt: int
    reason: str
    detail: str
    will_retry: bool
    def __init__(self, attempt: _Optional[int] = ..., reason: _Optional[str] = ..., detail: _Optional[str] = ..., will_retry: _Optional[bool] = ...) -> None: ...

class CompileJobQuarantined(_message.Message):
    __slots__ = ("attempts", "last_reason")
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    LAST_REASON_FIELD_NUMBER: _ClassVar[int]
    attempts: int
    last_reason: str
    def __init__(self, attempts: _Optional[int] = ..., last_reason: _Optional[str] = ...) -> None: ...
