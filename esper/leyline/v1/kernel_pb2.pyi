from esper.leyline.v1 import blueprint_pb2 as _blueprint_pb2
from esper.leyline.v1 import enums_pb2 as _enums_pb2
from esper.leyline.v1 import site_pb2 as _site_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class KernelSpec(_message.Message):
    __slots__ = ("blueprint_id", "blueprint_version", "parameters", "shape", "init_seed", "torch_version")
    class ParametersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    BLUEPRINT_ID_FIELD_NUMBER: _ClassVar[int]
    BLUEPRINT_VERSION_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    INIT_SEED_FIELD_NUMBER: _ClassVar[int]
    TORCH_VERSION_FIELD_NUMBER: _ClassVar[int]
    blueprint_id: str
    blueprint_version: str
    parameters: _containers.ScalarMap[str, float]
    shape: _site_pb2.SiteShape
    init_seed: int
    torch_version: str
    def __init__(self, blueprint_id: _Optional[str] = ..., blueprint_version: _Optional[str] = ..., parameters: _Optional[_Mapping[str, float]] = ..., shape: _Optional[_Union[_site_pb2.SiteShape, _Mapping]] = ..., init_seed: _Optional[int] = ..., torch_version: _Optional[str] = ...) -> None: ...

class RequestKernel(_message.Message):
    __slots__ = ("spec", "request_id", "run_id", "seed_id", "own")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    SEED_ID_FIELD_NUMBER: _ClassVar[int]
    OWN_FIELD_NUMBER: _ClassVar[int]
    spec: KernelSpec
    request_id: str
    run_id: str
    seed_id: str
    own: OwnKernel
    def __init__(self, spec: _Optional[_Union[KernelSpec, _Mapping]] = ..., request_id: _Optional[str] = ..., run_id: _Optional[str] = ..., seed_id: _Optional[str] = ..., own: _Optional[_Union[OwnKernel, _Mapping]] = ...) -> None: ...

class OwnKernel(_message.Message):
    __slots__ = ("kernel_id", "blueprint")
    KERNEL_ID_FIELD_NUMBER: _ClassVar[int]
    BLUEPRINT_FIELD_NUMBER: _ClassVar[int]
    kernel_id: str
    blueprint: _blueprint_pb2.BlueprintDescriptor
    def __init__(self, kernel_id: _Optional[str] = ..., blueprint: _Optional[_Union[_blueprint_pb2.BlueprintDescriptor, _Mapping]] = ...) -> None: ...

class RegisterKernel(_message.Message):
    __slots__ = ("kernel_id", "job_id", "spec", "bytes", "guard_digest", "verdict", "compile_ms", "prewarm_p50_ms", "prewarm_p95_ms", "eager_fallback", "fallback_reason")
    KERNEL_ID_FIELD_NUMBER: _ClassVar[int]
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    GUARD_DIGEST_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    COMPILE_MS_FIELD_NUMBER: _ClassVar[int]
    PREWARM_P50_MS_FIELD_NUMBER: _ClassVar[int]
    PREWARM_P95_MS_FIELD_NUMBER: _ClassVar[int]
    EAGER_FALLBACK_FIELD_NUMBER: _ClassVar[int]
    FALLBACK_REASON_FIELD_NUMBER: _ClassVar[int]
    kernel_id: str
    job_id: str
    spec: KernelSpec
    bytes: int
    guard_digest: str
    verdict: _enums_pb2.EngineVerdict
    compile_ms: float
    prewarm_p50_ms: float
    prewarm_p95_ms: float
    eager_fallback: bool
    fallback_reason: str
    def __init__(self, kernel_id: _Optional[str] = ..., job_id: _Optional[str] = ..., spec: _Optional[_Union[KernelSpec, _Mapping]] = ..., bytes: _Optional[int] = ..., guard_digest: _Optional[str] = ..., verdict: _Optional[_Union[_enums_pb2.EngineVerdict, str]] = ..., compile_ms: _Optional[float] = ..., prewarm_p50_ms: _Optional[float] = ..., prewarm_p95_ms: _Optional[float] = ..., eager_fallback: _Optional[bool] = ..., fallback_reason: _Optional[str] = ...) -> None: ...

class RejectKernel(_message.Message):
    __slots__ = ("kernel_id", "job_id", "reason", "detail")
    KERNEL_ID_FIELD_NUMBER: _ClassVar[int]
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    kernel_id: str
    job_id: str
    reason: str
    detail: str
    def __init__(self, kernel_id: _Optional[str] = ..., job_id: _Optional[str] = ..., reason: _Optional[str] = ..., detail: _Optional[str] = ...) -> None: ...

class KernelRequested(_message.Message):
    __slots__ = ("spec", "request_id", "run_id", "seed_id")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    SEED_ID_FIELD_NUMBER: _ClassVar[int]
    spec: KernelSpec
    request_id: str
    run_id: str
    seed_id: str
    def __init__(self, spec: _Optional[_Union[KernelSpec, _Mapping]] = ..., request_id: _Optional[str] = ..., run_id: _Optional[str] = ..., seed_id: _Optional[str] = ...) -> None: ...

class KernelRegistered(_message.Message):
    __slots__ = ("kernel_id", "job_id", "spec", "version", "bytes", "guard_digest", "verdict", "compile_ms", "prewarm_p50_ms", "prewarm_p95_ms", "eager_fallback", "fallback_reason")
    KERNEL_ID_FIELD_NUMBER: _ClassVar[int]
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    GUARD_DIGEST_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    COMPILE_MS_FIELD_NUMBER: _ClassVar[int]
    PREWARM_P50_MS_FIELD_NUMBER: _ClassVar[int]
    PREWARM_P95_MS_FIELD_NUMBER: _ClassVar[int]
    EAGER_FALLBACK_FIELD_NUMBER: _ClassVar[int]
    FALLBACK_REASON_FIELD_NUMBER: _ClassVar[int]
    kernel_id: str
    job_id: str
    spec: KernelSpec
    version: str
    bytes: int
    guard_digest: str
    verdict: _enums_pb2.EngineVerdict
    compile_ms: float
    prewarm_p50_ms: float
    prewarm_p95_ms: float
    eager_fallback: bool
    fallback_reason: str
    def __init__(self, kernel_id: _Optional[str] = ..., job_id: _Optional[str] = ..., spec: _Optional[_Union[KernelSpec, _Mapping]] = ..., version: _Optional[str] = ..., bytes: _Optional[int] = ..., guard_digest: _Optional[str] = ..., verdict: _Optional[_Union[_enums_pb2.EngineVerdict, str]] = ..., compile_ms: _Optional[float] = ..., prewarm_p50_ms: _Optional[float] = ..., prewarm_p95_ms: _Optional[float] = ..., eager_fallback: _Optional[bool] = ..., fallback_reason: _Optional[str] = ...) -> None: ...

class KernelRejected(_message.Message):
    __slots__ = ("kernel_id", "job_id", "reason", "detail")
    KERNEL_ID_FIELD_NUMBER: _ClassVar[int]
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    kernel_id: str
    job_id: str
    reason: str
    detail: str
    def __init__(self, kernel_id: _Optional[str] = ..., job_id: _Optional[str] = ..., reason: _Optional[str] = ..., detail: _Optional[str] = ...) -> None: ...
