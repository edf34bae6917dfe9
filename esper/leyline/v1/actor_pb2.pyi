from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class StartActor(_message.Message):
    __slots__ = ("host", "pid", "durable")
    HOST_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    DURABLE_FIELD_NUMBER: _ClassVar[int]
    host: str
    pid: int
    durable: bool
    def __init__(self, host: _Optional[str] = ..., pid: _Optional[int] = ..., durable: _Optional[bool] = ...) -> None: ...

class ActorStarted(_message.Message):
    __slots__ = ("host", "pid", "durable", "epoch")
    HOST_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    DURABLE_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    host: str
    pid: int
    durable: bool
    epoch: int
    def __init__(self, host: _Optional[str] = ..., pid: _Optional[int] = ..., durable: _Optional[bool] = ..., epoch: _Optional[int] = ...) -> None: ...
