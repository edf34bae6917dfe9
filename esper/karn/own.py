"""Blueprints of a user's own: known in the process that registered them, and to the log by a digest of their source.

A log, a forge and a library only ever see such a blueprint's id, version and weights. Its code runs where its user
runs it, and nowhere else.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from esper.karn.errors import BlueprintUnsound, NameTaken
from esper.leyline.canonical import sha256_hex
from esper.leyline.v1.blueprint_pb2 import BlueprintDescriptor, BlueprintParameterBounds
from esper.leyline.v1.enums_pb2 import (
    BLEND_MODE_CONVEX,
    BLEND_MODE_RESIDUAL,
    BLUEPRINT_TIER_EXPERIMENTAL,
    SITE_KIND_IMAGE,
    SITE_KIND_SEQUENCE,
    SITE_KIND_VECTOR,
    SiteKind,
)

# (kind, width, [output width,] hyperparameters) -> a module.
Builder: TypeAlias = Callable[..., Any]

KINDS: Mapping[str, SiteKind] = {
    "vector": SITE_KIND_VECTOR,
    "sequence": SITE_KIND_SEQUENCE,
    "image": SITE_KIND_IMAGE,
}
# How versions of own blueprints begin, and those of the catalogue never do.
OWN = "own-"
_DIGITS = 32
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")


class OwnBlueprint(msgspec.Struct, frozen=True, kw_only=True):
    """A registered builder, its source as it was read, and what the log is told of it.

    `offered` says whether controllers may choose it; `mixes_positions`, whether an output position may see others.
    """

    descriptor: BlueprintDescriptor
    builder: Builder
    source: str
    offered: bool
    mixes_positions: bool = False


_registered: dict[str, OwnBlueprint] = {}


def version_of(source: str) -> str:
    """Return the version of an own blueprint: half of the SHA-256 of its source."""
    return f"{OWN}{sha256_hex(source.encode())[:_DIGITS]}"


def is_own(version: str) -> bool:
    """Whether *version* is that of an own blueprint, which only its user's program can build."""
    return version.startswith(OWN)


def describe(
    blueprint_id: str,
    source: str,
    *,
    description: str,
    kinds: Sequence[str],
    parameters: Mapping[str, BlueprintParameterBounds],
    replaces: bool,
    spans: bool,
    risk: float,
) -> BlueprintDescriptor:
    """Return what the log is told of an own blueprint.

    Raises:
        BlueprintUnsound: the id, a kind or the risk is none.
    """
    if not _NAME.fullmatch(blueprint_id):
        raise BlueprintUnsound(
            blueprint_id, "its id is letters a-z, digits, '_' and '-', at most 64, beginning with a letter"
        )
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown or not kinds:
        raise BlueprintUnsound(
            blueprint_id, f"kinds are some of {', '.join(KINDS)}: not {', '.join(unknown) or 'none'}"
        )
    if replaces and spans:
        raise BlueprintUnsound(
            blueprint_id, "what replaces features keeps their width: leave out the output width, or replaces=True"
        )
    if not 0.0 <= risk <= 1.0:
        raise BlueprintUnsound(blueprint_id, f"risk is a number from 0 to 1: not {risk:g}")
    return BlueprintDescriptor(
        blueprint_id=blueprint_id,
        name=blueprint_id,
        tier=BLUEPRINT_TIER_EXPERIMENTAL,
        allowed_parameters=parameters,
        risk=risk,
        stage=2,
        description=description,
        version=version_of(source),
        kinds=[KINDS[kind] for kind in dict.fromkeys(kinds)],
        blend_mode=BLEND_MODE_CONVEX if replaces else BLEND_MODE_RESIDUAL,
        spans=spans,
    )


def register(own: OwnBlueprint, *, replace: bool) -> None:
    """Let this process build *own*. Registering the very same again changes nothing.

    Raises:
        NameTaken: another source is registered under its id, and it is not to *replace* it.
    """
    blueprint_id = own.descriptor.blueprint_id
    known = _registered.get(blueprint_id)
    if known is not None and known.descriptor != own.descriptor and not replace:
        raise NameTaken(blueprint_id, known.descriptor.version, own.descriptor.version)
    _registered[blueprint_id] = own


def registered(blueprint_id: str) -> OwnBlueprint | None:
    """Return the own blueprint of that id, if this process has registered one."""
    return _registered.get(blueprint_id)


def all_registered() -> tuple[OwnBlueprint, ...]:
    """Return every own blueprint of this process, in the order of registration."""
    return tuple(_registered.values())


def forget(blueprint_id: str) -> None:
    """Register *blueprint_id* no longer; what was grown from it cannot be rebuilt here any more."""
    _registered.pop(blueprint_id, None)
