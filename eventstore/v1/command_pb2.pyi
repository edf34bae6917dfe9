from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class Command(_message.Message):
    __slots__ = ("command_id", "target", "type", "payload", "issued_at_ns", "deadline_ns", "issued_by", "aggregate", "aggregate_id", "causation_id", "correlation_id", "run_id", "traceparent")
    COMMAND_ID_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    ISSUED_AT_NS_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_NS_FIELD_NUMBER: _ClassVar[int]
    ISSUED_BY_FIELD_NUMBER: _ClassVar[int]
    AGGREGATE_FIELD_NUMBER: _ClassVar[int]
    AGGREGATE_ID_FIELD_NUMBER: _ClassVar[int]
    CAUSATION_ID_FIELD_NUMBER: _ClassVar[int]
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    command_id: str
    target: str
    type: str
    payload: bytes
    issued_at_ns: int
    deadline_ns: int
    issued_by: str
    aggregate: str
    aggregate_id: str
    causation_id: str
    correlation_id: str
    run_id: str
    traceparent: str
    def __init__(self, command_id: _Optional[str] = ..., target: _Optional[str] = ..., type: _Optional[str] = ..., payload: _Optional[bytes] = ..., issued_at_ns: _Optional[int] = ..., deadline_ns: _Optional[int] = ..., issued_by: _Optional[str] = ..., aggregate: _Optional[str] = ..., aggregate_id: _Optional[str] = ..., causation_id: _Optional[str] = ..., correlation_id: _Optional[str] = ..., run_id: _Optional[str] = ..., traceparent: _Optional[str] = ...) -> None: ...

class SignedCommand(_message.Message):
    __slots__ = ("command", "key_id", "signature")
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    command: bytes
    key_id: str
    signature: bytes
    def __init__(self, command: _Optional[bytes] = ..., key_id: _Optional[str] = ..., signature: _Optional[bytes] = ...) -> None: ...
