"""From an acknowledged germination to a verified seed module."""

import msgspec
import torch
from torch import nn

from actors.bundles import fetch_from, sign_with, verify_with
from actors.place import Place
from esper.karn.builders import build
from esper.karn.catalogue import descriptor, known
from esper.karn.counting import parameter_count
from esper.karn.errors import BlueprintRefused, ParameterRefused, SandboxOnly, UnknownBlueprint
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
from esper.urza.bundle import OpenedBundle, unpack
from esper.urza.cache import KernelCache
from esper.urza.errors import BundleRefused
from esper.urza.library import OpenedKernel, build_kernel


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
    except SandboxOnly:
        return evidence | {"blueprint_known": 0.0}
    except ParameterRefused:
        return evidence | {"kind_supported": 1.0, "parameters_in_bounds": 0.0}
    except BlueprintRefused:
        return evidence | {"kind_supported": 0.0, "parameters_in_bounds": 1.0}
    return evidence | {"kind_supported": 1.0, "parameters_in_bounds": 1.0}


class Verified(msgspec.Struct, frozen=True):
    """A kernel whose every byte was verified, built anew unless its blueprint is the user's; or why it was refused."""

    kernel_id: str
    bundle: OpenedBundle | None = None
    built: tuple[OpenedKernel, int] | None = None
    refused: BundleRefused | None = None


def verified(place: Place, seed: Seed, kernel_id: str, cache: KernelCache) -> Verified:
    """Read the bundle *kernel_id*, verify all of it before anything is parsed, and build *seed*'s module from it.

    Safe in any thread: neither the host nor torch's random state is touched, *cache* is only looked at, and a user's
    own code is left to the training thread.
    """
    try:
        bundle = cache.at_hand(kernel_id) or unpack(kernel_id, fetch_from(place.blobs), verify_with(place.keys))
        own = registered(seed.blueprint_id) is not None
        return Verified(kernel_id, bundle, None if own else _built(bundle, seed))
    except BundleRefused as refused:
        return Verified(kernel_id, refused=refused)


def _built(bundle: OpenedBundle, seed: Seed) -> tuple[OpenedKernel, int]:
    """Return a module of its own for *seed*, and how many parameters its blueprint declares."""
    spec = kernel_spec(seed)
    # What the module returns at birth: nothing to add, or the activation itself.
    returns = BLEND_MODE_RESIDUAL if adds(seed.blend_mode, seed.blend) else BLEND_MODE_CONVEX
    try:
        kernel = build_kernel(bundle, spec, build, blend_mode=returns)
    except BlueprintRefused as refused:
        raise BundleRefused("guard_mismatch", str(refused)) from refused
    return kernel, parameter_count(seed.blueprint_id, seed.parameters, spec.shape)


def inspected(host: nn.Module, seed: Seed, found: Verified, cache: KernelCache) -> Opened:
    """Prove that the module that was *found* has nothing in common with *host*. Training thread only.

    Raises:
        BundleRefused: with the reason; the module was not built, or not used.
    """
    bundle, shape = found.bundle, kernel_spec(seed).shape
    if bundle is None:
        raise found.refused or BundleRefused("missing_part", "nothing was read")
    cache.use(found.kernel_id, bundle)
    kernel, declared = found.built or _built(bundle, seed)
    example = torch.zeros((2, *shape.input_size), dtype=getattr(torch, shape.dtype))
    evidence = kernel.evidence | {
        "parameter_mismatch": float(abs(kernel.parameter_count - declared)),
        "shared_parameters": float(shared_parameters(kernel.module, host)),
        "isolation_violations": float(violations(kernel.module, host, example)),
    }
    return Opened(found.kernel_id, kernel.module, kernel.weights_sha256, kernel.parameter_count, evidence)


def open_verified(place: Place, host: nn.Module, seed: Seed, kernel_id: str, cache: KernelCache) -> Opened:
    """Read, verify, build and inspect the kernel *kernel_id* of *seed*, at once.

    What *cache* holds was verified in this process. Each call builds a module that nobody else has.

    Raises:
        BundleRefused: with the reason; the module was not built, or not used.
    """
    return inspected(host, seed, verified(place, seed, kernel_id, cache), cache)
