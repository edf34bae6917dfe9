"""The signed page of a bundle: what it is a kernel of, how it was made, and the digests of its parts."""

import msgspec
from google.protobuf.message import DecodeError

from esper.leyline.v1.enums_pb2 import EngineVerdict
from esper.leyline.v1.kernel_pb2 import KernelSpec
from esper.urza.errors import BundleRefused

WEIGHTS, GUARD, GRAPH = "weights.safetensors", "guard.json", "graph.json"
PARTS = (WEIGHTS, GUARD, GRAPH)


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One part: the SHA-256 of its bytes, which is also where to find it, and their number."""

    sha256: str
    bytes: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a bundle says of itself. `spec` is the hex of the canonical KernelSpec; `verdict` its enum's name."""

    schema: int = 1
    kernel_key: str
    spec: str
    guard_digest: str
    verdict: str
    eager_fallback: bool
    fallback_reason: str
    compile_ms: float
    eager_ms: tuple[float, ...]
    compiled_ms: tuple[float, ...]
    torch_version: str
    host: str
    files: dict[str, Part]


class Bundle(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The small page whose own SHA-256 is the kernel's id: where the manifest is, and who signed it."""

    key_id: str
    manifest: str
    signature: str


def canonical_json(page: Manifest | Bundle) -> bytes:
    """Return the one byte string that stands for *page*: sorted keys, no spaces."""
    return msgspec.json.encode(page, order="deterministic")


def parse_bundle(data: bytes) -> Bundle:
    """Return the page that *data* stands for.

    Raises:
        BundleRefused: `manifest_invalid`.
    """
    try:
        bundle = msgspec.json.decode(data, type=Bundle)
        bytes.fromhex(bundle.signature)
    except (msgspec.DecodeError, ValueError) as error:
        raise BundleRefused("manifest_invalid", f"the bundle's page is malformed: {error}") from error
    return bundle


def parse_manifest(data: bytes) -> tuple[Manifest, KernelSpec]:
    """Return the manifest in *data*, with the specification that it carries. Call it on verified bytes only.

    Raises:
        BundleRefused: `manifest_invalid`, or `missing_part` if it does not list one.
    """
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
        spec = KernelSpec.FromString(bytes.fromhex(manifest.spec))
    except (msgspec.DecodeError, ValueError, DecodeError) as error:
        raise BundleRefused("manifest_invalid", f"the manifest is malformed: {error}") from error
    if manifest.schema != 1 or manifest.verdict not in EngineVerdict.keys():  # noqa: SIM118 - not a mapping
        raise BundleRefused("manifest_invalid", f"schema {manifest.schema}, verdict {manifest.verdict!r}")
    missing = [name for name in PARTS if name not in manifest.files]
    if missing:
        raise BundleRefused("missing_part", f"the manifest does not list {', '.join(missing)}")
    if len(manifest.files) != len(PARTS):
        raise BundleRefused("manifest_invalid", f"unknown parts: {sorted(set(manifest.files) - set(PARTS))}")
    return manifest, spec
