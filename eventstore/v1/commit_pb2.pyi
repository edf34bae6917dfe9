from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Event(_message.Message):
    __slots__ = ("event_id", "type", "schema_version", "payload")
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_VERSION_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    event_id: str
    type: str
    schema_version: int
    payload: bytes
    def __init__(self, event_id: _Optional[str] = ..., type: _Optional[str] = ..., schema_version: _Optional[int] = ..., payload: _Optional[bytes] = ...) -> None: ...

class Commit(_message.Message):
    __slots__ = ("commit_id", "aggregate", "aggregate_id", "first_version", "recorded_at_ns", "actor", "actor_epoch", "command_id", "command_type", "causation_id", "correlation_id", "run_id", "traceparent", "events", "previous_sha256")
    COMMIT_ID_FIELD_NUMBER: _ClassVar[int]
    AGGREGATE_FIELD_NUMBER: _ClassVar[int]
    AGGREGATE_ID_FIELD_NUMBER: _ClassVar[int]
    FIRST_VERSION_FIELD_NUMBER: _ClassVar[int]
    RECORDED_AT_NS_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    ACTOR_EPOCH_FIELD_NUMBER: _ClassVar[int]
    COMMAND_ID_FIELD_NUMBER: _ClassVar[int]
    COMMAND_TYPE_FIELD_NUMBER: _ClassVar[int]
    CAUSATION_ID_FIELD_NUMBER: _ClassVar[int]
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_SHA256_FIELD_NUMBER: _ClassVar[int]
    commit_id: str
    aggregate: str
    aggregate_id: str
    first_version: int
    recorded_at_ns: int
    actor: str
    actor_epoch: int
    command_id: str
    command_type: str
    causation_id: str
    correlation_id: str
    run_id: str
    traceparent: str
    events: _containers.RepeatedCompositeFieldContainer[Event]
    previous_sha256: bytes
    def __init__(self, commit_id: _Optional[str] = ..., aggregate: _Optional[str] = ..., aggregate_id: _Optional[str] = ..., first_version: _Optional[int] = ..., recorded_at_ns: _Optional[int] = ..., actor: _Optional[str] = ..., actor_epoch: _Optional[int] = ..., command_id: _Optional[str] = ..., command_type: _Optional[str] = ..., causation_id: _Optional[str] = ..., correlation_id: _Optional[str] = ..., run_id: _Optional[str] = ..., traceparent: _Optional[str] = ..., events: _Optional[_Iterable[_Union[Event, _Mapping]]] = ..., previous_sha256: _Optional[bytes] = ...) -> None: ...

class SignedCommit(_message.Message):
    __slots__ = ("commit", "key_id", "signature")
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    commit: bytes
    key_id: str
    signature: bytes
    def __init__(self, commit: _Optional[bytes] = ..., key_id: _Optional[str] = ..., signature: _Optional[bytes] = ...) -> None: ...
