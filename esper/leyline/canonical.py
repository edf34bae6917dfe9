"""One byte string per message, whatever the order its maps were filled in."""

import hashlib

from google.protobuf.message import Message

from esper.leyline.v1.kernel_pb2 import KernelSpec


def canonical_bytes(message: Message) -> bytes:
    """Serialize *message* deterministically: map entries sorted by key. For hashing, signing and golden files."""
    return message.SerializeToString(deterministic=True)


def sha256_hex(data: bytes) -> str:
    """Return the SHA-256 of *data* as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def kernel_key(spec: KernelSpec) -> str:
    """Return the name under which a kernel is compiled, registered and fetched: the digest of its specification."""
    return sha256_hex(canonical_bytes(spec))
