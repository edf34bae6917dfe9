"""Kernel bundles as bytes: written part by part, and read back with nothing parsed before it was verified.

    kernel id = SHA-256 of the bundle page ─→ manifest (signed) ─→ weights.safetensors, guard.json, graph.json

In this version a bundle holds no compiled code. The forge measures how fast the compiled kernel is and says so in
the manifest; what is served is the eager callable with verified weights.
"""

from collections.abc import Callable, Mapping
from typing import TypeAlias

import msgspec

from esper.leyline.canonical import canonical_bytes, kernel_key, sha256_hex
from esper.leyline.v1.kernel_pb2 import KernelSpec
from esper.urza.errors import BundleRefused
from esper.urza.guard import Guard, check_shape, guard_digest, parse_guard
from esper.urza.manifest import (
    GUARD,
    WEIGHTS,
    Bundle,
    Manifest,
    Part,
    canonical_json,
    parse_bundle,
    parse_manifest,
)
from esper.urza.tensors import check_weights

# Returns the bytes stored under a digest, or None if there are none. It need not verify them.
Fetch: TypeAlias = Callable[[str], bytes | None]
# Stores bytes and returns their digest.
Put: TypeAlias = Callable[[bytes], str]
# Returns the id of the signing key, and the signature.
Sign: TypeAlias = Callable[[bytes], tuple[str, bytes]]
# (data, key id, signature): whether that signature is good; False for an unknown key.
Verify: TypeAlias = Callable[[bytes, str, bytes], bool]


class Packed(msgspec.Struct, frozen=True):
    """A bundle that was just written: its kernel id, and the size of everything together."""

    kernel_id: str
    bytes: int


class OpenedBundle(msgspec.Struct, frozen=True):
    """A bundle of which every byte was verified, each read once."""

    kernel_id: str
    manifest: Manifest
    spec: KernelSpec
    guard: Guard
    weights: bytes
    bytes: int


def pack(manifest: Manifest, parts: Mapping[str, bytes], put: Put, sign: Sign) -> Packed:
    """Store *parts*, *manifest* with their digests filled in, and the signed page that leads to them."""
    files = {name: Part(put(data), len(data)) for name, data in sorted(parts.items())}
    manifest_bytes = canonical_json(msgspec.structs.replace(manifest, files=files))
    key_id, signature = sign(manifest_bytes)
    page = canonical_json(Bundle(key_id=key_id, manifest=put(manifest_bytes), signature=signature.hex()))
    return Packed(put(page), len(page) + len(manifest_bytes) + sum(part.bytes for part in files.values()))


def unpack(kernel_id: str, fetch: Fetch, verify: Verify) -> OpenedBundle:
    """Return the bundle called *kernel_id*: each part read once, hashed and vouched for before any is parsed.

    Nothing in a bundle is ever unpickled or executed.

    Raises:
        BundleRefused: with one of the six reasons.
    """
    page = _read("bundle page", kernel_id, fetch)
    bundle = parse_bundle(page)
    manifest_bytes = _read("manifest", bundle.manifest, fetch)
    if not verify(manifest_bytes, bundle.key_id, bytes.fromhex(bundle.signature)):
        raise BundleRefused("signature_invalid", f"the manifest was not signed by key {bundle.key_id!r}")
    manifest, spec = parse_manifest(manifest_bytes)
    parts = {name: _read(name, part.sha256, fetch) for name, part in sorted(manifest.files.items())}
    for name, part in manifest.files.items():
        if len(parts[name]) != part.bytes:
            raise BundleRefused("digest_mismatch", f"{name} has {len(parts[name])} bytes, not {part.bytes}")
    if manifest.kernel_key != kernel_key(spec) or manifest.spec != canonical_bytes(spec).hex():
        raise BundleRefused("manifest_invalid", "the manifest's key is not that of its specification")
    guard = parse_guard(parts[GUARD])
    if guard_digest(guard) != manifest.guard_digest:
        raise BundleRefused("guard_mismatch", "the guard is not the one that the manifest names")
    check_shape(guard, spec.shape)
    check_weights(parts[WEIGHTS], (*guard.parameters, *guard.buffers))
    total = len(page) + len(manifest_bytes) + sum(map(len, parts.values()))
    return OpenedBundle(kernel_id, manifest, spec, guard, parts[WEIGHTS], total)


def _read(name: str, digest: str, fetch: Fetch) -> bytes:
    data = fetch(digest)
    if data is None:
        raise BundleRefused("missing_part", f"there is no {name} ({digest})")
    found = sha256_hex(data)
    if found != digest:
        raise BundleRefused("digest_mismatch", f"the {name} should have digest {digest}, not {found}")
    return data
