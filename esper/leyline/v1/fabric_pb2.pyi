from esper.leyline.v1 import enums_pb2 as _enums_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DeadLetter(_message.Message):
    __slots__ = ("letter_id", "stream", "consumer", "position", "subject", "deliveries", "reason", "error", "sha256", "queued_at_ns", "command_id", "command_type", "issued_by")
    LETTER_ID_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    CONSUMER_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    DELIVERIES_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    QUEUED_AT_NS_FIELD_NUMBER: _ClassVar[int]
    COMMAND_ID_FIELD_NUMBER: _ClassVar[int]
    COMMAND_TYPE_FIELD_NUMBER: _ClassVar[int]
    ISSUED_BY_FIELD_NUMBER: _ClassVar[int]
    letter_id: str
    stream: str
    consumer: str
    position: int
    subject: str
    deliveries: int
    reason: str
    error: str
    sha256: str
    queued_at_ns: int
    command_id: str
    command_type: str
    issued_by: str
    def __init__(self, letter_id: _Optional[str] = ..., stream: _Optional[str] = ..., consumer: _Optional[str] = ..., position: _Optional[int] = ..., subject: _Optional[str] = ..., deliveries: _Optional[int] = ..., reason: _Optional[str] = ..., error: _Optional[str] = ..., sha256: _Optional[str] = ..., queued_at_ns: _Optional[int] = ..., command_id: _Optional[str] = ..., command_type: _Optional[str] = ..., issued_by: _Optional[str] = ...) -> None: ...

class BuryDeadLetter(_message.Message):
    __slots__ = ("letter",)
    LETTER_FIELD_NUMBER: _ClassVar[int]
    letter: DeadLetter
    def __init__(self, letter: _Optional[_Union[DeadLetter, _Mapping]] = ...) -> None: ...

class DeadLetterBuried(_message.Message):
    __slots__ = ("letter",)
    LETTER_FIELD_NUMBER: _ClassVar[int]
    letter: DeadLetter
    def __init__(self, letter: _Optional[_Union[DeadLetter, _Mapping]] = ...) -> None: ...

class RetryDeadLetter(_message.Message):
    __slots__ = ("by", "note")
    BY_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    by: str
    note: str
    def __init__(self, by: _Optional[str] = ..., note: _Optional[str] = ...) -> None: ...

class DeadLetterRetried(_message.Message):
    __slots__ = ("retry", "by", "note")
    RETRY_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    retry: int
    by: str
    note: str
    def __init__(self, retry: _Optional[int] = ..., by: _Optional[str] = ..., note: _Optional[str] = ...) -> None: ...

class DropDeadLetter(_message.Message):
    __slots__ = ("by", "note")
    BY_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    by: str
    note: str
    def __init__(self, by: _Optional[str] = ..., note: _Optional[str] = ...) -> None: ...

class DeadLetterDropped(_message.Message):
    __slots__ = ("by", "note")
    BY_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    by: str
    note: str
    def __init__(self, by: _Optional[str] = ..., note: _Optional[str] = ...) -> None: ...

class ObserveBreaker(_message.Message):
    __slots__ = ("failures_in_a_row", "successes", "open_for_s", "last_failure", "failures_to_open", "open_s", "successes_to_close", "observed_at_ns")
    FAILURES_IN_A_ROW_FIELD_NUMBER: _ClassVar[int]
    SUCCESSES_FIELD_NUMBER: _ClassVar[int]
    OPEN_FOR_S_FIELD_NUMBER: _ClassVar[int]
    LAST_FAILURE_FIELD_NUMBER: _ClassVar[int]
    FAILURES_TO_OPEN_FIELD_NUMBER: _ClassVar[int]
    OPEN_S_FIELD_NUMBER: _ClassVar[int]
    SUCCESSES_TO_CLOSE_FIELD_NUMBER: _ClassVar[int]
    OBSERVED_AT_NS_FIELD_NUMBER: _ClassVar[int]
    failures_in_a_row: int
    successes: int
    open_for_s: float
    last_failure: str
    failures_to_open: int
    open_s: float
    successes_to_close: int
    observed_at_ns: int
    def __init__(self, failures_in_a_row: _Optional[int] = ..., successes: _Optional[int] = ..., open_for_s: _Optional[float] = ..., last_failure: _Optional[str] = ..., failures_to_open: _Optional[int] = ..., open_s: _Optional[float] = ..., successes_to_close: _Optional[int] = ..., observed_at_ns: _Optional[int] = ...) -> None: ...

class ForceBreaker(_message.Message):
    __slots__ = ("state", "by", "reason", "open_s", "forced_at_ns")
    STATE_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    OPEN_S_FIELD_NUMBER: _ClassVar[int]
    FORCED_AT_NS_FIELD_NUMBER: _ClassVar[int]
    state: _enums_pb2.CircuitBreakerState
    by: str
    reason: str
    open_s: float
    forced_at_ns: int
    def __init__(self, state: _Optional[_Union[_enums_pb2.CircuitBreakerState, str]] = ..., by: _Optional[str] = ..., reason: _Optional[str] = ..., open_s: _Optional[float] = ..., forced_at_ns: _Optional[int] = ...) -> None: ...

class BreakerStateChanged(_message.Message):
    __slots__ = ("from_state", "to_state", "reason", "failure_count", "open_until_ns", "changed_at_ns")
    FROM_STATE_FIELD_NUMBER: _ClassVar[int]
    TO_STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    FAILURE_COUNT_FIELD_NUMBER: _ClassVar[int]
    OPEN_UNTIL_NS_FIELD_NUMBER: _ClassVar[int]
    CHANGED_AT_NS_FIELD_NUMBER: _ClassVar[int]
    from_state: _enums_pb2.CircuitBreakerState
    to_state: _enums_pb2.CircuitBreakerState
    reason: str
    failure_count: int
    open_until_ns: int
    changed_at_ns: int
    def __init__(self, from_state: _Optional[_Union[_enums_pb2.CircuitBreakerState, str]] = ..., to_state: _Optional[_Union[_enums_pb2.CircuitBreakerState, str]] = ..., reason: _Optional[str] = ..., failure_count: _Optional[int] = ..., open_until_ns: _Optional[int] = ..., changed_at_ns: _Optional[int] = ...) -> None: ...

class RaiseEmergency(_message.Message):
    __slots__ = ("level", "source", "reason", "detail", "raised_at_ns")
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    RAISED_AT_NS_FIELD_NUMBER: _ClassVar[int]
    level: _enums_pb2.EmergencyLevel
    source: str
    reason: str
    detail: str
    raised_at_ns: int
    def __init__(self, level: _Optional[_Union[_enums_pb2.EmergencyLevel, str]] = ..., source: _Optional[str] = ..., reason: _Optional[str] = ..., detail: _Optional[str] = ..., raised_at_ns: _Optional[int] = ...) -> None: ...

class EmergencyRaised(_message.Message):
    __slots__ = ("level", "source", "reason", "detail", "raised_at_ns")
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    RAISED_AT_NS_FIELD_NUMBER: _ClassVar[int]
    level: _enums_pb2.EmergencyLevel
    source: str
    reason: str
    detail: str
    raised_at_ns: int
    def __init__(self, level: _Optional[_Union[_enums_pb2.EmergencyLevel, str]] = ..., source: _Optional[str] = ..., reason: _Optional[str] = ..., detail: _Optional[str] = ..., raised_at_ns: _Optional[int] = ...) -> None: ...

class CoalesceEmergencies(_message.Message):
    __slots__ = ("reason", "count", "first_raised_at_ns", "last_raised_at_ns", "last_detail")
    REASON_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    FIRST_RAISED_AT_NS_FIELD_NUMBER: _ClassVar[int]
    LAST_RAISED_AT_NS_FIELD_NUMBER: _ClassVar[int]
    LAST_DETAIL_FIELD_NUMBER: _ClassVar[int]
    reason: str
    count: int
    first_raised_at_ns: int
    last_raised_at_ns: int
    last_detail: str
    def __init__(self, reason: _Optional[str] = ..., count: _Optional[int] = ..., first_raised_at_ns: _Optional[int] = ..., last_raised_at_ns: _Optional[int] = ..., last_detail: _Optional[str] = ...) -> None: ...

class EmergenciesCoalesced(_message.Message):
    __slots__ = ("reason", "count", "first_raised_at_ns", "last_raised_at_ns", "last_detail")
    REASON_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    FIRST_RAISED_AT_NS_FIELD_NUMBER: _ClassVar[int]
    LAST_RAISED_AT_NS_FIELD_NUMBER: _ClassVar[int]
    LAST_DETAIL_FIELD_NUMBER: _ClassVar[int]
    reason: str
    count: int
    first_raised_at_ns: int
    last_raised_at_ns: int
    last_detail: str
    def __init__(self, reason: _Optional[str] = ..., count: _Optional[int] = ..., first_raised_at_ns: _Optional[int] = ..., last_raised_at_ns: _Optional[int] = ..., last_detail: _Optional[str] = ...) -> None: ...

class ObserveFabric(_message.Message):
    __slots__ = ("depth", "deepest", "open_breakers", "calm_for_s", "enter_depth", "recover_depth", "calm_needed_s", "observed_at_ns")
    DEPTH_FIELD_NUMBER: _ClassVar[int]
    DEEPEST_FIELD_NUMBER: _ClassVar[int]
    OPEN_BREAKERS_FIELD_NUMBER: _ClassVar[int]
    CALM_FOR_S_FIELD_NUMBER: _ClassVar[int]
    ENTER_DEPTH_FIELD_NUMBER: _ClassVar[int]
    RECOVER_DEPTH_FIELD_NUMBER: _ClassVar[int]
    CALM_NEEDED_S_FIELD_NUMBER: _ClassVar[int]
    OBSERVED_AT_NS_FIELD_NUMBER: _ClassVar[int]
    depth: int
    deepest: str
    open_breakers: _containers.RepeatedScalarFieldContainer[str]
    calm_for_s: float
    enter_depth: int
    recover_depth: int
    calm_needed_s: float
    observed_at_ns: int
    def __init__(self, depth: _Optional[int] = ..., deepest: _Optional[str] = ..., open_breakers: _Optional[_Iterable[str]] = ..., calm_for_s: _Optional[float] = ..., enter_depth: _Optional[int] = ..., recover_depth: _Optional[int] = ..., calm_needed_s: _Optional[float] = ..., observed_at_ns: _Optional[int] = ...) -> None: ...

class ConservativeModeEntered(_message.Message):
    __slots__ = ("reason", "depth", "deepest", "entered_at_ns")
    REASON_FIELD_NUMBER: _ClassVar[int]
    DEPTH_FIELD_NUMBER: _ClassVar[int]
    DEEPEST_FIELD_NUMBER: _ClassVar[int]
    ENTERED_AT_NS_FIELD_NUMBER: _ClassVar[int]
    reason: str
    depth: int
    deepest: str
    entered_at_ns: int
    def __init__(self, reason: _Optional[str] = ..., depth: _Optional[int] = ..., deepest: _Optional[str] = ..., entered_at_ns: _Optional[int] = ...) -> None: ...

class ConservativeModeLeft(_message.Message):
    __slots__ = ("reason", "depth", "left_at_ns")
    REASON_FIELD_NUMBER: _ClassVar[int]
    DEPTH_FIELD_NUMBER: _ClassVar[int]
    LEFT_AT_NS_FIELD_NUMBER: _ClassVar[int]
    reason: str
    depth: int
    left_at_ns: int
    def __init__(self, reason: _Optional[str] = ..., depth: _Optional[int] = ..., left_at_ns: _Optional[int] = ...) -> None: ...
