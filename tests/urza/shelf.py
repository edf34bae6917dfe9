"""A kernel on a shelf: real parts, packed and signed, in a dictionary that a test may damage."""

import msgspec
import torch
from safetensors.torch import save

from actors.bundles import sign_with, verify_with
from esper.karn.builders import build
from esper.leyline.canonical import canonical_bytes, kernel_key, sha256_hex
from esper.leyline.v1.enums_pb2 import SITE_KIND_VECTOR
from esper.leyline.v1.kernel_pb2 import KernelSpec
from esper.leyline.v1.site_pb2 import SiteShape
from esper.urza.bundle import OpenedBundle, pack, unpack
from esper.urza.guard import Guard, ParameterGuard, TensorGuard, guard_bytes, guard_digest
from esper.urza.manifest import GRAPH, GUARD, WEIGHTS, Bundle, Manifest, Part, canonical_json
from eventstore.signing import Keys

SHAPE = SiteShape(
    input_kind=SITE_KIND_VECTOR, input_size=[6], output_kind=SITE_KIND_VECTOR, output_size=[4], dtype="float32"
)
SPEC = KernelSpec(
    blueprint_id="BP021",
    blueprint_version="1.0.0",
    parameters={"hidden_multiple": 2.0, "dropout": 0.0},
    shape=SHAPE,
    init_seed=7,
    torch_version=str(torch.__version__),
)


def module() -> torch.nn.Module:
    return build(SPEC.blueprint_id, SPEC.parameters, SPEC.shape, SPEC.init_seed)


def guard_for(site: SiteShape = SHAPE) -> Guard:
    return Guard(
        inputs=(TensorGuard(("d0", *site.input_size), site.dtype),),
        outputs=(TensorGuard(("d0", *site.output_size), site.dtype),),
        parameters=tuple(
            ParameterGuard(name, tuple(own.shape), "float32") for name, own in module().named_parameters()
        ),
        ranges={"d0": (1, 1024)},
    )


class Shelf:
    """Blobs by digest, with one kernel among them; nothing checks that a blob is what its digest says."""

    def __init__(self) -> None:
        self.keys = Keys("a secret for the tests")
        self.blobs: dict[str, bytes] = {}
        self.parts = {
            WEIGHTS: save(dict(module().state_dict())),
            GUARD: guard_bytes(guard_for()),
            GRAPH: b'{"code":[],"schema":1}',
        }
        self.manifest = Manifest(
            kernel_key=kernel_key(SPEC),
            spec=canonical_bytes(SPEC).hex(),
            guard_digest=guard_digest(guard_for()),
            verdict="ENGINE_VERDICT_EAGER",
            eager_fallback=False,
            fallback_reason="",
            compile_ms=12.5,
            eager_ms=(0.5, 0.7),
            compiled_ms=(),
            torch_version=SPEC.torch_version,
            host="0" * 64,
            files={},
        )
        self.kernel_id = ""
        self.repack()

    def repack(self, **changes: object) -> None:
        """Make all digests and the signature anew, as somebody with the key could."""
        self.manifest = msgspec.structs.replace(self.manifest, **changes)
        self.kernel_id = pack(self.manifest, self.parts, self.put, sign_with(self.keys)).kernel_id

    def reseal(self, manifest: bytes, **changes: str) -> None:
        """Put another manifest under the page, signed with our key unless *changes* say otherwise."""
        signed = {"key_id": self.keys.current_id, "signature": self.keys.sign(manifest).hex()} | changes
        self.kernel_id = self.put(canonical_json(Bundle(manifest=self.put(manifest), **signed)))

    def put(self, data: bytes) -> str:
        self.blobs[sha256_hex(data)] = data
        return sha256_hex(data)

    def places(self) -> dict[str, str]:
        """Name -> digest of everything that the kernel is made of."""
        page = msgspec.json.decode(self.blobs[self.kernel_id], type=Bundle)
        files = msgspec.json.decode(self.blobs[page.manifest], type=Manifest).files
        found: dict[str, Part] = dict(files)
        return {"page": self.kernel_id, "manifest": page.manifest} | {name: part.sha256 for name, part in found.items()}

    def open(self) -> OpenedBundle:
        return unpack(self.kernel_id, self.blobs.get, verify_with(self.keys))
