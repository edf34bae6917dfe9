from esper.leyline.v1 import enums_pb2 as _enums_pb2
from esper.leyline.v1 import run_pb2 as _run_pb2
from esper.leyline.v1 import site_pb2 as _site_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class OpenFieldReport(_message.Message):
    __slots__ = ("at", "command_id", "command_type", "seed_id", "blueprint_id", "policy_version", "window_epochs", "score_before")
    AT_FIELD_NUMBER: _ClassVar[int]
    COMMAND_ID_FIELD_NUMBER: _ClassVar[int]
    COMMAND_TYPE_FIELD_NUMBER: _ClassVar[int]
    SEED_ID_FIELD_NUMBER: _ClassVar[int]
    BLUEPRINT_ID_FIELD_NUMBER: _ClassVar[int]
    POLICY_VERSION_FIELD_NUMBER: _ClassVar[int]
    WINDOW_EPOCHS_FIELD_NUMBER: _ClassVar[int]
    SCORE_BEFORE_FIELD_NUMBER: _ClassVar[int]
    at: _site_pb2.Moment
    command_id: str
    command_type: str
    seed_id: str
    blueprint_id: str
    policy_version: str
    window_epochs: int
    score_before: float
    def __init__(self, at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ..., command_id: _Optional[str] = ..., command_type: _Optional[str] = ..., seed_id: _Optional[str] = ..., blueprint_id: _Optional[str] = ..., policy_version: _Optional[str] = ..., window_epochs: _Optional[int] = ..., score_before: _Optional[float] = ...) -> None: ...

class ObserveFieldReports(_message.Message):
    __slots__ = ("facts",)
    FACTS_FIELD_NUMBER: _ClassVar[int]
    facts: _run_pb2.EpochFacts
    def __init__(self, facts: _Optional[_Union[_run_pb2.EpochFacts, _Mapping]] = ...) -> None: ...

class AbortFieldReports(_message.Message):
    __slots__ = ("at", "seed_id", "reason", "command_id")
    AT_FIELD_NUMBER: _ClassVar[int]
    SEED_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    COMMAND_ID_FIELD_NUMBER: _ClassVar[int]
    at: _site_pb2.Moment
    seed_id: str
    reason: str
    command_id: str
    def __init__(self, at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ..., seed_id: _Optional[str] = ..., reason: _Optional[str] = ..., command_id: _Optional[str] = ...) -> None: ...

class FieldReportOpened(_message.Message):
    __slots__ = ("at", "report_id", "command_id", "command_type", "seed_id", "blueprint_id", "policy_version", "window_epochs", "score_before")
    AT_FIELD_NUMBER: _ClassVar[int]
    REPORT_ID_FIELD_NUMBER: _ClassVar[int]
    COMMAND_ID_FIELD_NUMBER: _ClassVar[int]
    COMMAND_TYPE_FIELD_NUMBER: _ClassVar[int]
    SEED_ID_FIELD_NUMBER: _ClassVar[int]
    BLUEPRINT_ID_FIELD_NUMBER: _ClassVar[int]
    POLICY_VERSION_FIELD_NUMBER: _ClassVar[int]
    WINDOW_EPOCHS_FIELD_NUMBER: _ClassVar[int]
    SCORE_BEFORE_FIELD_NUMBER: _ClassVar[int]
    at: _site_pb2.Moment
    report_id: str
    command_id: str
    command_type: str
    seed_id: str
    blueprint_id: str
    policy_version: str
    window_epochs: int
    score_before: float
    def __init__(self, at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ..., report_id: _Optional[str] = ..., command_id: _Optional[str] = ..., command_type: _Optional[str] = ..., seed_id: _Optional[str] = ..., blueprint_id: _Optional[str] = ..., policy_version: _Optional[str] = ..., window_epochs: _Optional[int] = ..., score_before: _Optional[float] = ...) -> None: ...

class FieldReportWritten(_message.Message):
    __slots__ = ("at", "report_id", "command_id", "command_type", "seed_id", "blueprint_id", "outcome", "metrics", "window_epochs", "policy_version", "attribution", "notes")
    class MetricsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    AT_FIELD_NUMBER: _ClassVar[int]
    REPORT_ID_FIELD_NUMBER: _ClassVar[int]
    COMMAND_ID_FIELD_NUMBER: _ClassVar[int]
    COMMAND_TYPE_FIELD_NUMBER: _ClassVar[int]
    SEED_ID_FIELD_NUMBER: _ClassVar[int]
    BLUEPRINT_ID_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    WINDOW_EPOCHS_FIELD_NUMBER: _ClassVar[int]
    POLICY_VERSION_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTION_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    at: _site_pb2.Moment
    report_id: str
    command_id: str
    command_type: str
    seed_id: str
    blueprint_id: str
    outcome: _enums_pb2.FieldReportOutcome
    metrics: _containers.ScalarMap[str, float]
    window_epochs: int
    policy_version: str
    attribution: str
    notes: str
    def __init__(self, at: _Optional[_Union[_site_pb2.Moment, _Mapping]] = ..., report_id: _Optional[str] = ..., command_id: _Optional[str] = ..., command_type: _Optional[str] = ..., seed_id: _Optional[str] = ..., blueprint_id: _Optional[str] = ..., outcome: _Optional[_Union[_enums_pb2.FieldReportOutcome, str]] = ..., metrics: _Optional[_Mapping[str, float]] = ..., window_epochs: _Optional[int] = ..., policy_version: _Optional[str] = ..., attribution: _Optional[str] = ..., notes: _Optional[str] = ...) -> None: ...
