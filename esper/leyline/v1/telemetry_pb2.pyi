from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TelemetryPacket(_message.Message):
    __slots__ = ("source_subsystem", "metrics", "run_id", "steps", "epochs", "measured_at_ns")
    SOURCE_SUBSYSTEM_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    EPOCHS_FIELD_NUMBER: _ClassVar[int]
    MEASURED_AT_NS_FIELD_NUMBER: _ClassVar[int]
    source_subsystem: str
    metrics: _containers.RepeatedCompositeFieldContainer[MetricSeries]
    run_id: str
    steps: _containers.RepeatedScalarFieldContainer[int]
    epochs: _containers.RepeatedScalarFieldContainer[int]
    measured_at_ns: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, source_subsystem: _Optional[str] = ..., metrics: _Optional[_Iterable[_Union[MetricSeries, _Mapping]]] = ..., run_id: _Optional[str] = ..., steps: _Optional[_Iterable[int]] = ..., epochs: _Optional[_Iterable[int]] = ..., measured_at_ns: _Optional[_Iterable[int]] = ...) -> None: ...

class MetricSeries(_message.Message):
    __slots__ = ("name", "unit", "values", "about")
    NAME_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    ABOUT_FIELD_NUMBER: _ClassVar[int]
    name: str
    unit: str
    values: _containers.RepeatedScalarFieldContainer[float]
    about: str
    def __init__(self, name: _Optional[str] = ..., unit: _Optional[str] = ..., values: _Optional[_Iterable[float]] = ..., about: _Optional[str] = ...) -> None: ...
