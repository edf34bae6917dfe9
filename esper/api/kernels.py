"""From an acknowledged germination to a verified seed module."""

import msgspec
import torch
from torch import nn

from actors.bundles import fetch_from, sign_with, verify_with
from actors.place import Place
from esper.karn.builders import build
from esper.karn.catalogue import descriptor, known
from esper.karn.counting import parameter_count
from esper.karn.errors import BlueprintRefused, ParameterRefused, UnknownBlueprint
from esper.karn.own import is_own, registered
from esper.kasmina.isolation import shared_parameters, violations
from esper.kasmina.rules.blend import adds
from esper.kasmina.rules.seed import Seed
from esper.leyline.canonical import kernel_key
from esper.leyline.v1.enums_pb2 import BLEND_MODE_CONVEX, BLEND_MODE_RESIDUAL
from esper.leyline.v1.kernel_pb2 import KernelSpec, OwnKernel
from esper.leyline.v1.seed_pb2 import GerminateSeed
from esper.tezzeret.errors import ForgeFailed
from esper.tezzeret.handmade import make
from esper.urza.bundle import unpack
from esper.urza.cache import KernelCache
from esper.urza.errors import BundleRefused
from esper.urza.library import build_kernel


class Opened(msgspec.Struct, frozen=True):
    """A kernel whose every byte was verified, as a module, with what gate G1 asks about it."""

    kernel_id: str
    module: nn.Module
    weights_sha256: str
    parameter_count: int
    evidence: dict[str, float]


def kernel_spec(seed: Seed) -> KernelSpec:
    """Return the specification of the kernel that *seed* was germinated with.

    Raises:
        BundleRefused: this installation would build something else under that specification.
    """
    try:
        version = descriptor(seed.blueprint_id).version
    except UnknownBlueprint as unknown:
        raise BundleRefused("guard_mismatch", str(unknown)) from unknown
    spec = KernelSpec(
        blueprint_id=seed.blueprint_id,
        blueprint_version=version,
        parameters=seed.parameters,
        shape=seed.shape,
        init_seed=seed.init_seed,
        torch_version=torch.__version__,
    )
    if kernel_key(spec) != seed.kernel_key:
        what = f"another source of {seed.blueprint_id!r} than {version}" if is_own(version) else "another catalogue"
        raise BundleRefused("guard_mismatch", f"the run began with {what}, or with another torch")
    return spec


def own_kernel(place: Place, spec: KernelSpec) -> OwnKernel | None:
    """Make the kernel of *spec*, if its blueprint is the user's own; None for one that the forge makes.

    Raises:
        BundleRefused: it cannot be built.
    """
    own = registered(spec.blueprint_id)
    if own is None:
        return None
    try:
        packed = make(own, spec, place.blobs.put, sign_with(place.keys))
    except ForgeFailed as failed:
        raise BundleRefused("guard_mismatch", failed.detail) from failed
    return OwnKernel(kernel_id=packed.kernel_id, blueprint=own.descriptor)


def sanity(command: GerminateSeed) -> dict[str, float]:
    """Return what gate G0 asks about a blueprint at a site, by asking Karn."""
    here = known(command.blueprint_id)
    evidence = {"blueprint_known": float(here), "shape_known": float(bool(command.shape.output_size))}
    if not here:
        return evidence
    try:
        parameter_count(command.blueprint_id, command.parameters, command.shape)
    except ParameterRefused:
        return evidence | {"kind_supported": 1.0, "parameters_in_bounds": 0.0}
    except BlueprintRefused:
        return evidence | {"kind_supported": 0.0, "parameters_in_bounds": 1.0}
    return evidence | {"kind_supported": 1.0, "parameters_in_bounds": 1.0}


def open_verified(place: Place, host: nn.Module, seed: Seed, kernel_id: str, cache: KernelCache) -> Opened:
    """Read the bundle *kernel_id*, verify all of it before anything is parsed, and build *seed*'s module from it.

    What *cache* holds was verified in this process. Each call builds a module that nobody else has.

    Raises:
        BundleRefused: with the reason; the module was not built, or not used.
    """
    spec = kernel_spec(seed)
    # What the module returns at birth: nothing to add, or the activation itself.
    returns = BLEND_MODE_RESIDUAL if adds(seed.blend_mode, seed.blend) else BLEND_MODE_CONVEX
    try:
        bundle = cache.open(kernel_id, lambda: unpack(kernel_id, fetch_from(place.blobs), verify_with(place.keys)))
        kernel = build_kernel(bundle, spec, build, blend_mode=returns)
    except BlueprintRefused as refused:
        raise BundleRefused("guard_mismatch", str(refused)) from refused
    declared = parameter_count(seed.blueprint_id, seed.parameters, spec.shape)
    example = torch.zeros((2, *spec.shape.input_size), dtype=getattr(torch, spec.shape.dtype))
    evidence = kernel.evidence | {
        "parameter_mismatch": float(abs(kernel.parameter_count - declared)),
        "shared_parameters": float(shared_parameters(kernel.module, host)),
        "isolation_violations": float(violations(kernel.module, host, example)),
    }
    return Opened(kernel_id, kernel.module, kernel.weights_sha256, kernel.parameter_count, evidence)
