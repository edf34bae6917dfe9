"""From a kernel's id to a module that is ready to be planted."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

import msgspec
import torch
from torch import Tensor, nn

from esper.leyline.canonical import canonical_bytes, sha256_hex
from esper.leyline.v1.enums_pb2 import BLEND_MODE_CONVEX, BlendMode
from esper.leyline.v1.kernel_pb2 import KernelSpec
from esper.leyline.v1.site_pb2 import SiteShape
from esper.urza.bundle import Fetch, OpenedBundle, Verify, unpack
from esper.urza.errors import BundleRefused
from esper.urza.guard import guard_allows
from esper.urza.weights import load_weights

# (blueprint id, parameters, shape, init seed) -> a module; Karn's allow-listed builders.
Build: TypeAlias = Callable[[str, Mapping[str, float], SiteShape, int], nn.Module]

_PROBE_BATCH = 4


class OpenedKernel(msgspec.Struct, frozen=True):
    """A module with verified weights, the digest of those weights, and what gate G1 asks of it, measured."""

    module: nn.Module
    weights_sha256: str
    parameter_count: int
    evidence: dict[str, float]


def open_kernel(
    kernel_id: str, spec: KernelSpec, fetch: Fetch, verify: Verify, build: Build, *, blend_mode: BlendMode
) -> OpenedKernel:
    """Return the kernel called *kernel_id*, verified by `unpack` and built by `build_kernel`; raises as they do."""
    return build_kernel(unpack(kernel_id, fetch, verify), spec, build, blend_mode=blend_mode)


def build_kernel(bundle: OpenedBundle, spec: KernelSpec, build: Build, *, blend_mode: BlendMode) -> OpenedKernel:
    """Return a module of its own for *spec*, built anew by *build* and filled with the weights of a verified *bundle*.

    Safe in any thread: torch's global random state is not touched. The evidence has checksum_verified,
    guard_verified, output_shape_ok, output_finite, parameter_mismatch and identity_error; the last is the greatest
    contribution at birth, on a probe batch.

    Raises:
        BundleRefused: the bundle is not one for *spec*.
        esper.karn.errors.BlueprintRefused: the catalogue does not allow *spec*.
    """
    if canonical_bytes(bundle.spec) != canonical_bytes(spec):
        raise BundleRefused("manifest_invalid", "this is a kernel of another specification")
    module = build(spec.blueprint_id, spec.parameters, spec.shape, spec.init_seed)
    load_weights(module, bundle.weights)
    count = sum(parameter.numel() for parameter in module.parameters())
    evidence = {
        "checksum_verified": 1.0,
        "guard_verified": 1.0,
        "parameter_mismatch": float(abs(count - bundle.guard.parameter_count)),
        **_probe(module, bundle, spec, blend_mode),
    }
    return OpenedKernel(module, sha256_hex(bundle.weights), count, evidence)


def _probe(module: nn.Module, bundle: OpenedBundle, spec: KernelSpec, blend_mode: BlendMode) -> dict[str, float]:
    """Run *module* once, without dropout, on numbers drawn from a generator of its own."""
    generator = torch.Generator().manual_seed(spec.init_seed % 2**63)
    drawn = torch.randn((_PROBE_BATCH, *spec.shape.input_size), generator=generator)
    given = drawn.to(getattr(torch, spec.shape.dtype))
    refusal = guard_allows(bundle.guard, given)
    if refusal is not None:
        raise BundleRefused("guard_mismatch", refusal)
    module.eval()
    with torch.no_grad():
        output: Tensor = module(given)
    module.train()
    fits = output.shape == (_PROBE_BATCH, *spec.shape.output_size)
    measured = {"output_shape_ok": float(fits), "output_finite": float(bool(torch.isfinite(output).all()))}
    if fits:
        contribution = output - given if blend_mode == BLEND_MODE_CONVEX else output
        measured["identity_error"] = float(contribution.abs().max())
    return measured
