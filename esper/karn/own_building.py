"""Calling a user's builder: the same weights for the same seed, and nothing else of the program moved."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager

import torch
from torch import nn

from esper.karn.errors import BlueprintUnsound
from esper.karn.own import KINDS, OwnBlueprint
from esper.karn.route import Route
from esper.leyline.canonical import canonical_bytes
from esper.leyline.v1.enums_pb2 import SiteKind
from esper.leyline.v1.kernel_pb2 import KernelSpec
from esper.leyline.v1.site_pb2 import SiteShape

# What a user's code may raise for reasons of its own; a KeyboardInterrupt is none of them.
FAULTS = (RuntimeError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, AssertionError)
_DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
_COUNTS_KEPT = 512
# What was found, failures too: built once, in the thread that trains, and known in the others.
_counts: dict[bytes, int | BlueprintUnsound] = {}


def build_own(
    own: OwnBlueprint, chosen: Mapping[str, float], way: Route, shape: SiteShape, init_seed: int
) -> nn.Module:
    """Return the module that *own* builds for a site of *shape*, on the CPU, in training mode.

    Draws from torch's generator come from *init_seed*, and the generator is put back. Call it in the thread that
    trains, as nothing else may draw meanwhile.

    Raises:
        BlueprintUnsound: its builder failed, or built what cannot be a seed.
    """
    blueprint_id, bounds = own.descriptor.blueprint_id, own.descriptor.allowed_parameters
    numbers = {name: int(value) if bounds[name].integer else value for name, value in chosen.items()}
    widths = (way.channels_in, way.channels_out) if own.descriptor.spans else (way.channels_in,)
    try:
        with _draws_from(init_seed), torch.device("cpu"):
            module = own.builder(_word(shape.input_kind), *widths, **numbers)
    except FAULTS as fault:
        asked = ", ".join((*map(str, widths), *(f"{name}={value:g}" for name, value in numbers.items())))
        raise BlueprintUnsound(
            blueprint_id, f"its builder raised {type(fault).__name__}: {fault} (asked for {asked})"
        ) from fault
    _refuse_unfit(blueprint_id, module)
    return module.to(dtype=getattr(torch, shape.dtype)).train()


def own_parameter_count(own: OwnBlueprint, chosen: Mapping[str, float], way: Route, shape: SiteShape) -> int:
    """Return how many numbers *own* learns at a site of *shape*; it is built once to count them.

    Raises:
        BlueprintUnsound: as `build_own` does.
    """
    described = own.descriptor
    key = canonical_bytes(
        KernelSpec(
            blueprint_id=described.blueprint_id, blueprint_version=described.version, parameters=chosen, shape=shape
        )
    )
    if key not in _counts:
        try:
            module = build_own(own, chosen, way, shape, init_seed=0)
            _counts[key] = sum(parameter.numel() for parameter in module.parameters())
        except BlueprintUnsound as unsound:
            _counts[key] = unsound
        if len(_counts) > _COUNTS_KEPT:
            del _counts[next(iter(_counts))]
    found = _counts[key]
    if isinstance(found, BlueprintUnsound):
        raise found
    return found


def _word(kind: SiteKind) -> str:
    return next(word for word, known in KINDS.items() if known == kind)


@contextmanager
def _draws_from(init_seed: int) -> Generator[None]:
    before = torch.default_generator.get_state()
    torch.default_generator.manual_seed(init_seed % 2**63)
    try:
        yield
    finally:
        torch.default_generator.set_state(before)


def _refuse_unfit(blueprint_id: str, module: object) -> None:
    """Refuse a module whose weights alone would not be all of it.

    Raises:
        BlueprintUnsound: says what to change.
    """
    if not isinstance(module, nn.Module):
        why = f"its builder returned a {type(module).__name__}: return an nn.Module"
        raise BlueprintUnsound(blueprint_id, why)
    names = dict(module.named_parameters(remove_duplicate=False))
    if any(isinstance(each, nn.parameter.UninitializedParameter) for each in names.values()):
        raise BlueprintUnsound(blueprint_id, "it has lazy layers: give them their widths")
    if len({id(each) for each in names.values()}) < len(names):
        raise BlueprintUnsound(blueprint_id, "one of its parameters goes by two names: tie no weights inside a seed")
    odd = [name for name, each in names.items() if each.dtype not in _DTYPES or each.device.type != "cpu"]
    if odd:
        raise BlueprintUnsound(blueprint_id, f"{odd[0]} is no floating-point tensor on the CPU: Esper moves a seed")
    saved = [name for name in module.state_dict() if name not in names]
    if saved:
        raise BlueprintUnsound(
            blueprint_id,
            f"{saved[0]} is a buffer that would be saved: running statistics would drift while the host goes on, so "
            "take GroupNorm or LayerNorm in place of BatchNorm, and give constants persistent=False",
        )
