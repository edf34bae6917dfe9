"""From an acknowledged germination to a verified seed module."""

import msgspec
import torch
from torch import nn

from actors.bundles import fetch_from, verify_with
from actors.place import Place
from esper.karn.admission import admit
from esper.karn.builders import build
from esper.karn.catalogue import CATALOGUE, descriptor
from esper.karn.counting import parameter_count
from esper.karn.errors import ParameterRefused, SandboxOnly, ShapeUnsupported
from esper.kasmina.isolation import shared_parameters, violations
from esper.kasmina.rules.blend import adds
from esper.kasmina.rules.seed import Seed
from esper.leyline.canonical import kernel_key
from esper.leyline.v1.enums_pb2 import BLEND_MODE_CONVEX, BLEND_MODE_RESIDUAL
from esper.leyline.v1.kernel_pb2 import KernelSpec
from esper.leyline.v1.seed_pb2 import GerminateSeed
from esper.urza.errors import BundleRefused
from esper.urza.library import open_kernel


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
    spec = KernelSpec(
        blueprint_id=seed.blueprint_id,
        blueprint_version=descriptor(seed.blueprint_id).version,
        parameters=seed.parameters,
        shape=seed.shape,
        init_seed=seed.init_seed,
        torch_version=torch.__version__,
    )
    if kernel_key(spec) != seed.kernel_key:
        raise BundleRefused("guard_mismatch", "the run began with another torch or another catalogue of blueprints")
    return spec


def sanity(command: GerminateSeed) -> dict[str, float]:
    """Return what gate G0 asks about a blueprint at a site, by asking Karn."""
    known = command.blueprint_id in CATALOGUE
    evidence = {"blueprint_known": float(known), "shape_known": float(bool(command.shape.output_size))}
    if not known:
        return evidence
    try:
        admit(command.blueprint_id, command.parameters, command.shape)
    except SandboxOnly:
        return evidence | {"blueprint_known": 0.0}
    except ParameterRefused:
        return evidence | {"kind_supported": 1.0, "parameters_in_bounds": 0.0}
    except ShapeUnsupported:
        return evidence | {"kind_supported": 0.0, "parameters_in_bounds": 1.0}
    return evidence | {"kind_supported": 1.0, "parameters_in_bounds": 1.0}


def open_verified(place: Place, host: nn.Module, seed: Seed, kernel_id: str) -> Opened:
    """Read the bundle *kernel_id*, verify all of it before anything is parsed, and build *seed*'s module from it.

    Raises:
        BundleRefused: with the reason; the module was not built, or not used.
    """
    spec = kernel_spec(seed)
    # What the module returns at birth: nothing to add, or the activation itself.
    returns = BLEND_MODE_RESIDUAL if adds(seed.blend_mode, seed.blend) else BLEND_MODE_CONVEX
    kernel = open_kernel(kernel_id, spec, fetch_from(place.blobs), verify_with(place.keys), build, blend_mode=returns)
    declared = parameter_count(seed.blueprint_id, seed.parameters, spec.shape)
    example = torch.zeros((2, *spec.shape.input_size), dtype=getattr(torch, spec.shape.dtype))
    evidence = kernel.evidence | {
        "parameter_mismatch": float(abs(kernel.parameter_count - declared)),
        "shared_parameters": float(shared_parameters(kernel.module, host)),
        "isolation_violations": float(violations(kernel.module, host, example)),
    }
    return Opened(kernel_id, kernel.module, kernel.weights_sha256, kernel.parameter_count, evidence)
