"""One decision as signed, chained bytes, and back: what is returned from here was verified."""

from collections.abc import Sequence
from hashlib import sha1, sha256
from typing import TypeVar
from uuid import UUID

import msgspec
from google.protobuf.message import DecodeError, Message

from eventstore.errors import KeyMissing, LogCorrupt, UnknownEventType
from eventstore.signing import Keys
from eventstore.store import Context, EventTypes, Recorded, StreamName
from eventstore.upcasting import Written, newest
from eventstore.v1.commit_pb2 import Commit, Event, SignedCommit
from eventstore.vocabulary import OWN

MAX_COMMIT_BYTES = 1024 * 1024 - 4096
_Kind = TypeVar("_Kind", bound=Message)
NAMESPACE = UUID("6c65796c-696e-5e00-8000-6573706572f1")
_NAMESPACE_BYTES = NAMESPACE.bytes
_VARIANTS = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


def commit_id(stream: StreamName, command_id: str) -> str:
    """Return the id that the answer to *command_id* has on *stream*, whenever and wherever it is decided."""
    return _uuid5_hex(_NAMESPACE_BYTES, f"{stream.aggregate}.{stream.aggregate_id}|{command_id}".encode())


def event_id(commit: str, index: int) -> str:
    """Return the id of the event at *index* (from 0) of *commit*."""
    return _uuid5_hex(bytes.fromhex(commit), b"%d" % index)


def _uuid5_hex(namespace: bytes, name: bytes) -> str:
    """Return `uuid5(...).hex` without building UUID objects: that took half the time of verifying a log."""
    digest = sha1(namespace + name, usedforsecurity=False).hexdigest()
    return f"{digest[:12]}5{digest[13:16]}{_VARIANTS[digest[16]]}{digest[17:32]}"


class Link(msgspec.Struct, frozen=True, gc=False):
    """Where a stream's chain ends: the version of its last event and the SHA-256 of its last stored message."""

    version: int
    sha256: bytes


START = Link(0, b"")


class Chains:
    """Where each stream's chain stands, for a reader of many streams.

    A reader that began at the log's first position knows every link. One that began later takes the first commit it
    meets of each stream as given - signature and form are verified, its link is not - and checks every later one.
    """

    def __init__(self, *, from_start: bool) -> None:
        self._links: dict[StreamName, Link] = {}
        self._unmet = START if from_start else None

    def end_of(self, stream: StreamName) -> Link | None:
        """Return where *stream* stands, or None if that is not known."""
        return self._links.get(stream, self._unmet)

    def extend(self, stream: StreamName, link: Link) -> None:
        """Note that *stream* now ends at *link*."""
        self._links[stream] = link


class Draft(msgspec.Struct, frozen=True):
    """A sealed commit that its writer has not stored yet, and what it was made of."""

    stream: StreamName
    commit: Commit
    context: Context
    data: bytes


class CommitCodec(msgspec.Struct, frozen=True):
    """How commits are written and read: with which keys, in which vocabulary."""

    keys: Keys
    types: EventTypes

    def seal(self, stream: StreamName, events: Sequence[Message], context: Context, after: Link) -> bytes:
        """Return the bytes of the commit that follows *after* on *stream*.

        Raises:
            ValueError: there are no events: a decision that records nothing is not a commit.
        """
        return self.draft(stream, events, context, after).data

    def draft(self, stream: StreamName, events: Sequence[Message], context: Context, after: Link) -> Draft:
        """Like `seal`, for a writer that will want to know what it has recorded once that is stored."""
        if not events:
            raise ValueError(f"nothing to record on {stream}")
        this = commit_id(stream, context.command_id)
        commit = Commit(
            commit_id=this,
            aggregate=stream.aggregate,
            aggregate_id=stream.aggregate_id,
            first_version=after.version + 1,
            previous_sha256=after.sha256,
            events=[
                Event(
                    event_id=event_id(this, index),
                    type=event.DESCRIPTOR.full_name,
                    schema_version=self._schema_version(event),
                    payload=event.SerializeToString(deterministic=True),
                )
                for index, event in enumerate(events)
            ],
            **msgspec.structs.asdict(context),
        )
        body = commit.SerializeToString(deterministic=True)
        signed = SignedCommit(commit=body, key_id=self.keys.current_id, signature=self.keys.sign(body))
        return Draft(stream, commit, context, signed.SerializeToString(deterministic=True))

    def unseal(self, data: bytes, position: int, stream: StreamName, after: Link | None) -> tuple[Recorded, ...]:
        """Return the events of the commit stored at *position*, verified against *after*, the end of the chain so far.

        Raises:
            LogCorrupt: form, signature, identity or chain is wrong.
            UnknownEventType: all is well but the program is too old for it.
        """
        signed = _parse(SignedCommit, data, position)
        self._check_signature(signed, position)
        return self._opened(signed, position, stream, after)

    def unseal_unsigned(
        self, data: bytes, position: int, stream: StreamName, after: Link | None
    ) -> tuple[Recorded, ...]:
        """Like `unseal`, but the signature is not looked at: for copies that anybody could have made."""
        return self._opened(_parse(SignedCommit, data, position), position, stream, after)

    def recorded(self, draft: Draft, position: int) -> tuple[Recorded, ...]:
        """Return the events of *draft* now that it is stored at *position*.

        Nothing is verified: it never left this process.
        """
        return self._events(tuple(draft.commit.events), draft.commit, draft.context, position, draft.stream)

    def read(self, data: bytes, position: int, stream: StreamName, chains: Chains) -> tuple[Recorded, ...]:
        """Unseal the next commit of *stream* and extend its chain in *chains*."""
        events = self.unseal(data, position, stream, chains.end_of(stream))
        chains.extend(stream, link_after(data, events))
        return events

    def _opened(
        self, signed: SignedCommit, position: int, stream: StreamName, after: Link | None
    ) -> tuple[Recorded, ...]:
        body = _parse(Commit, signed.commit, position)
        stored = tuple(body.events)
        _check_identity(body, stored, position, stream)
        _check_link(body, position, after)
        return self._events(stored, body, _context(body), position, stream)

    def _schema_version(self, event: Message) -> int:
        own = OWN.lookup(event.DESCRIPTOR.full_name)
        return own[1] if own else self.types.version(event)

    def _check_signature(self, signed: SignedCommit, position: int) -> None:
        try:
            genuine = self.keys.verify(signed.commit, signed.key_id, signed.signature)
        except KeyMissing as missing:
            known = f"one of {', '.join(self.keys.ids())} (ESPER_LEYLINE_SECRET or the key file)"
            raise LogCorrupt(position, "signing key", known, repr(signed.key_id)) from missing
        if not genuine:
            raise LogCorrupt(position, "signature", f"the HMAC of key {signed.key_id}", signed.signature.hex())

    def _events(
        self, events: Sequence[Event], commit: Commit, context: Context, position: int, stream: StreamName
    ) -> tuple[Recorded, ...]:
        first, this = commit.first_version, commit.commit_id
        recorded: list[Recorded] = []
        for index, stored in enumerate(events):
            name, message = self._message(stored, position)
            recorded.append(
                Recorded(
                    position=position,
                    index=index,
                    stream=stream,
                    version=first + index,
                    event_id=stored.event_id,
                    event_type=name,
                    event=message,
                    commit_id=this,
                    context=context,
                )
            )
        return tuple(recorded)

    def _message(self, stored: Event, position: int) -> tuple[str, Message]:
        name, payload = stored.type, stored.payload
        known = self.types.lookup(name) or OWN.lookup(name)
        if known is None or stored.schema_version != known[1]:
            name, version, payload = self._newest(stored, position)
            known = self.types.lookup(name)
            if known is None or version != known[1]:
                raise UnknownEventType(position, stored.type, stored.schema_version)
        return name, _parse(known[0], payload, position)

    def _newest(self, stored: Event, position: int) -> Written:
        try:
            return newest(self.types, Written(stored.type, stored.schema_version, stored.payload))
        except DecodeError as error:
            raise LogCorrupt(position, "form", f"a {stored.type} v{stored.schema_version}", str(error)) from error


def link_after(data: bytes, events: Sequence[Recorded]) -> Link:
    """Return where the chain ends after the commit whose stored bytes are *data* and whose events are *events*."""
    return Link(events[-1].version, sha256(data).digest())


def previous_of(data: bytes) -> bytes:
    """Return the SHA-256 that *data*, a verified commit, holds of its stream's previous one; empty if it is first."""
    return Commit.FromString(SignedCommit.FromString(data).commit).previous_sha256


def key_id_of(data: bytes) -> str:
    """Return the id of the key that is said to have signed the sealed commit *data*; "" if it is no such thing."""
    try:
        return SignedCommit.FromString(data).key_id
    except DecodeError:
        return ""


def _context(commit: Commit) -> Context:
    return Context(
        command_id=commit.command_id,
        command_type=commit.command_type,
        recorded_at_ns=commit.recorded_at_ns,
        actor=commit.actor,
        actor_epoch=commit.actor_epoch,
        causation_id=commit.causation_id,
        correlation_id=commit.correlation_id,
        run_id=commit.run_id,
        traceparent=commit.traceparent,
    )


def _parse(kind: type[_Kind], data: bytes, position: int) -> _Kind:
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise LogCorrupt(position, "form", f"a {kind.DESCRIPTOR.full_name}", str(error)) from error


def _check_identity(commit: Commit, events: Sequence[Event], position: int, stream: StreamName) -> None:
    if (commit.aggregate, commit.aggregate_id) != stream:
        raise LogCorrupt(position, "stream", str(stream), f"{commit.aggregate}.{commit.aggregate_id}")
    this = commit.commit_id
    expected = commit_id(stream, commit.command_id)
    if this != expected:
        raise LogCorrupt(position, "commit id", expected, this)
    if not events:
        raise LogCorrupt(position, "events", "at least one", "none")
    namespace = bytes.fromhex(this)
    for index, event in enumerate(events):
        expected = _uuid5_hex(namespace, b"%d" % index)
        if event.event_id != expected:
            raise LogCorrupt(position, "event id", expected, event.event_id)


def _check_link(commit: Commit, position: int, after: Link | None) -> None:
    if after is None:
        first = commit.first_version == 1
        _require(position, "previous hash", "none" if first else "one", "one" if commit.previous_sha256 else "none")
        return
    _require(position, "first version", after.version + 1, commit.first_version)
    if after.sha256 != commit.previous_sha256:
        raise LogCorrupt(position, "previous hash", after.sha256.hex(), commit.previous_sha256.hex())


def _require(position: int, kind: str, expected: object, found: object) -> None:
    if expected != found:
        raise LogCorrupt(position, kind, str(expected), str(found))
