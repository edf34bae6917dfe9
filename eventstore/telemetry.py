"""Telemetry as signed bytes, and back."""

from google.protobuf.message import DecodeError

from eventstore.admission import Refusal
from eventstore.errors import KeyMissing
from eventstore.signing import Keys
from eventstore.v1.telemetry_pb2 import SignedTelemetry


def seal(keys: Keys, subject: str, packet: bytes) -> bytes:
    """Return *packet* as signed bytes that are good on *subject* only."""
    signature = keys.sign(_signed(subject, packet))
    return SignedTelemetry(packet=packet, key_id=keys.current_id, signature=signature).SerializeToString(
        deterministic=True
    )


def unseal(keys: Keys, subject: str, data: bytes) -> bytes | Refusal:
    """Return the packet that *data* holds, or why it is not to be believed."""
    try:
        signed = SignedTelemetry.FromString(data)
        if not signed.signature:
            return Refusal("missing_signature", "it is not signed")
        if not keys.verify(_signed(subject, signed.packet), signed.key_id, signed.signature):
            return Refusal("invalid_signature", "wrong signature")
    except DecodeError as error:
        return Refusal("undecodable", str(error))
    except KeyMissing as error:
        return Refusal("verifier_unavailable", str(error))
    return signed.packet


def _signed(subject: str, packet: bytes) -> bytes:
    return subject.encode() + b"\0" + packet
