"""Commands as signed bytes, and back."""

import msgspec
from google.protobuf.message import DecodeError

from eventstore.errors import CommandInvalid, KeyMissing
from eventstore.signing import Keys
from eventstore.store import CommandRecord, EventTypes, StreamName
from eventstore.v1.command_pb2 import Command, SignedCommand


class CommandCodec(msgspec.Struct, frozen=True):
    """How commands are written and read: with which keys, in which vocabulary."""

    keys: Keys
    types: EventTypes

    def seal(self, record: CommandRecord) -> bytes:
        """Return *record* as signed bytes; the same record gives the same bytes."""
        command = Command(
            command_id=record.command_id,
            target=record.target,
            type=record.command.DESCRIPTOR.full_name,
            payload=record.command.SerializeToString(deterministic=True),
            issued_at_ns=record.issued_at_ns,
            deadline_ns=record.deadline_ns,
            issued_by=record.issued_by,
            aggregate=record.stream.aggregate,
            aggregate_id=record.stream.aggregate_id,
            causation_id=record.causation_id,
            correlation_id=record.correlation_id,
            run_id=record.run_id,
            traceparent=record.traceparent,
        )
        body = command.SerializeToString(deterministic=True)
        signed = SignedCommand(command=body, key_id=self.keys.current_id, signature=self.keys.sign(body))
        return signed.SerializeToString(deterministic=True)

    def unseal(self, data: bytes, target: str) -> CommandRecord:
        """Return the command that *data* holds, verified to be genuine and meant for *target*.

        Raises:
            CommandInvalid: form, signature, key, target or type is wrong.
        """
        try:
            signed = SignedCommand.FromString(data)
            if signed.key_id and signed.key_id not in self.keys.ids():
                raise KeyMissing(signed.key_id)
            if not signed.signature:
                raise CommandInvalid("it is not signed", "missing_signature")
            if not self.keys.verify(signed.command, signed.key_id, signed.signature):
                raise CommandInvalid("wrong signature", "invalid_signature")
            command = Command.FromString(signed.command)
        except DecodeError as error:
            raise CommandInvalid(f"undecodable: {error}", "undecodable") from error
        except KeyMissing as error:
            raise CommandInvalid(str(error), "verifier_unavailable") from error
        if command.target != target:
            raise CommandInvalid(f"meant for {command.target!r}, delivered to {target!r}", "wrong_target")
        return self._record(command)

    def _record(self, command: Command) -> CommandRecord:
        known = self.types.lookup(command.type)
        if known is None:
            raise CommandInvalid(f"unknown type {command.type!r}", "unknown_type")
        try:
            payload = known[0].FromString(command.payload)
        except DecodeError as error:
            raise CommandInvalid(f"undecodable {command.type}: {error}", "undecodable") from error
        return CommandRecord(
            command_id=command.command_id,
            target=command.target,
            command=payload,
            stream=StreamName(command.aggregate, command.aggregate_id),
            issued_at_ns=command.issued_at_ns,
            deadline_ns=command.deadline_ns,
            issued_by=command.issued_by,
            causation_id=command.causation_id,
            correlation_id=command.correlation_id,
            run_id=command.run_id,
            traceparent=command.traceparent,
        )
