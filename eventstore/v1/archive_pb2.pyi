from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ArchiveFrame(_message.Message):
    __slots__ = ("header", "commit", "end")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    header: ArchiveHeader
    commit: ArchivedCommit
    end: ArchiveEnd
    def __init__(self, header: _Optional[_Union[ArchiveHeader, _Mapping]] = ..., commit: _Optional[_Union[ArchivedCommit, _Mapping]] = ..., end: _Optional[_Union[ArchiveEnd, _Mapping]] = ...) -> None: ...

class ArchiveHeader(_message.Message):
    __slots__ = ("format_version", "subject", "log_created_ns", "log_first_position", "log_last_position", "exported_at_ns", "descriptor_set", "schema_versions", "key_ids")
    class SchemaVersionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    FORMAT_VERSION_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    LOG_CREATED_NS_FIELD_NUMBER: _ClassVar[int]
    LOG_FIRST_POSITION_FIELD_NUMBER: _ClassVar[int]
    LOG_LAST_POSITION_FIELD_NUMBER: _ClassVar[int]
    EXPORTED_AT_NS_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTOR_SET_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    KEY_IDS_FIELD_NUMBER: _ClassVar[int]
    format_version: int
    subject: str
    log_created_ns: int
    log_first_position: int
    log_last_position: int
    exported_at_ns: int
    descriptor_set: bytes
    schema_versions: _containers.ScalarMap[str, int]
    key_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, format_version: _Optional[int] = ..., subject: _Optional[str] = ..., log_created_ns: _Optional[int] = ..., log_first_position: _Optional[int] = ..., log_last_position: _Optional[int] = ..., exported_at_ns: _Optional[int] = ..., descriptor_set: _Optional[bytes] = ..., schema_versions: _Optional[_Mapping[str, int]] = ..., key_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class ArchivedCommit(_message.Message):
    __slots__ = ("position", "aggregate", "aggregate_id", "sealed")
    POSITION_FIELD_NUMBER: _ClassVar[int]
    AGGREGATE_FIELD_NUMBER: _ClassVar[int]
    AGGREGATE_ID_FIELD_NUMBER: _ClassVar[int]
    SEALED_FIELD_NUMBER: _ClassVar[int]
    position: int
    aggregate: str
    aggregate_id: str
    sealed: bytes
    def __init__(self, position: _Optional[int] = ..., aggregate: _Optional[str] = ..., aggregate_id: _Optional[str] = ..., sealed: _Optional[bytes] = ...) -> None: ...

class ArchiveEnd(_message.Message):
    __slots__ = ("commits", "events", "sha256", "key_id", "signature")
    COMMITS_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    commits: int
    events: int
    sha256: bytes
    key_id: str
    signature: bytes
    def __init__(self, commits: _Optional[int] = ..., events: _Optional[int] = ..., sha256: _Optional[bytes] = ..., key_id: _Optional[str] = ..., signature: _Optional[bytes] = ...) -> None: ...

class LogImported(_message.Message):
    __slots__ = ("archive_sha256", "subject", "log_created_ns", "first_position", "last_position", "position_map_sha256", "commits", "events", "key_ids", "signatures_verified")
    ARCHIVE_SHA256_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    LOG_CREATED_NS_FIELD_NUMBER: _ClassVar[int]
    FIRST_POSITION_FIELD_NUMBER: _ClassVar[int]
    LAST_POSITION_FIELD_NUMBER: _ClassVar[int]
    POSITION_MAP_SHA256_FIELD_NUMBER: _ClassVar[int]
    COMMITS_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    KEY_IDS_FIELD_NUMBER: _ClassVar[int]
    SIGNATURES_VERIFIED_FIELD_NUMBER: _ClassVar[int]
    archive_sha256: str
    subject: str
    log_created_ns: int
    first_position: int
    last_position: int
    position_map_sha256: str
    commits: int
    events: int
    key_ids: _containers.RepeatedScalarFieldContainer[str]
    signatures_verified: bool
    def __init__(self, archive_sha256: _Optional[str] = ..., subject: _Optional[str] = ..., log_created_ns: _Optional[int] = ..., first_position: _Optional[int] = ..., last_position: _Optional[int] = ..., position_map_sha256: _Optional[str] = ..., commits: _Optional[int] = ..., events: _Optional[int] = ..., key_ids: _Optional[_Iterable[str]] = ..., signatures_verified: _Optional[bool] = ...) -> None: ...
