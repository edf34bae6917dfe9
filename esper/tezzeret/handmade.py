"""Kernels of a user's own blueprints, made where the user's code may run: in the trainer, without a compiler."""

import msgspec
from safetensors.torch import save

from esper.karn.builders import build
from esper.karn.errors import BlueprintRefused
from esper.karn.own import OwnBlueprint
from esper.leyline.canonical import canonical_bytes, kernel_key
from esper.leyline.v1.enums_pb2 import ENGINE_VERDICT_EAGER, EngineVerdict
from esper.leyline.v1.kernel_pb2 import KernelSpec
from esper.tezzeret.errors import ForgeFailed
from esper.urza.bundle import Packed, Put, Sign, pack
from esper.urza.guard import BATCH, LARGEST_BATCH, Guard, ParameterGuard, TensorGuard, guard_bytes, guard_digest
from esper.urza.manifest import GRAPH, GUARD, WEIGHTS, Manifest


def make(own: OwnBlueprint, spec: KernelSpec, put: Put, sign: Sign) -> Packed:
    """Build *own* once for *spec*, and store its first weights as a signed bundle like any other.

    The guard says what the site needs; in place of an exported graph the bundle holds the source, for people to read.

    Raises:
        ForgeFailed: `build`; it cannot be built for *spec*.
    """
    try:
        module = build(spec.blueprint_id, spec.parameters, spec.shape, spec.init_seed)
    except BlueprintRefused as refused:
        raise ForgeFailed("build", str(refused)) from refused
    dtype, shape = spec.shape.dtype, spec.shape
    guard = Guard(
        inputs=(TensorGuard((BATCH, *shape.input_size), dtype),),
        outputs=(TensorGuard((BATCH, *shape.output_size), dtype),),
        parameters=tuple(ParameterGuard(name, tuple(each.shape), dtype) for name, each in module.named_parameters()),
        ranges={BATCH: (1, LARGEST_BATCH)},
    )
    manifest = Manifest(
        kernel_key=kernel_key(spec),
        spec=canonical_bytes(spec).hex(),
        guard_digest=guard_digest(guard),
        verdict=EngineVerdict.Name(ENGINE_VERDICT_EAGER),
        eager_fallback=False,
        fallback_reason="",
        compile_ms=0.0,
        eager_ms=(),
        compiled_ms=(),
        torch_version=spec.torch_version,
        host="",
        files={},
    )
    source = msgspec.json.encode({"code": own.source.splitlines(), "schema": 1}, order="deterministic")
    weights = {name: tensor.detach().contiguous() for name, tensor in module.state_dict().items()}
    return pack(manifest, {WEIGHTS: save(weights), GUARD: guard_bytes(guard), GRAPH: source}, put, sign)
