"""The blueprints that everybody can grow: what each is, what it may be asked for, and where it fits."""

from collections.abc import Mapping
from types import MappingProxyType

from esper.karn.declaration import Declaration, Traits
from esper.karn.declarations import adversarial, deep, experimental, plain, transformer
from esper.karn.errors import UnknownBlueprint, VersionUnknown
from esper.karn.own import all_registered, registered
from esper.leyline.v1.blueprint_pb2 import BlueprintDescriptor

IDENTITY = "BP001"
LINEAR = "BP002"
LAYER_NORM = "BP003"
RESIDUAL_BLOCK = "BP009"
DEPTHWISE_SEPARABLE = "BP015"
SQUEEZE_EXCITATION = "BP016"
GATED_FEEDFORWARD = "BP021"
LOW_RANK = "BP-PROJ-LoRA-64"

_DECLARED: Mapping[str, Declaration] = MappingProxyType(
    {
        row.descriptor.blueprint_id: row
        for rows in (plain.ROWS, deep.ROWS, experimental.ROWS, adversarial.ROWS, transformer.ROWS)
        for row in rows
    }
)
CATALOGUE: Mapping[str, BlueprintDescriptor] = MappingProxyType(
    {blueprint_id: row.descriptor for blueprint_id, row in _DECLARED.items()}
)


def descriptor(blueprint_id: str) -> BlueprintDescriptor:
    """Return what the catalogue says of *blueprint_id*, which may name its version: "BP021@1.0.0".

    Of a user's own, what was said when it was registered in this process.

    Raises:
        UnknownBlueprint: there is no such blueprint here.
        VersionUnknown: there is, in another version.
    """
    own = registered(blueprint_id)
    if own is not None:
        return own.descriptor
    name, _, version = blueprint_id.partition("@")
    found = CATALOGUE.get(name)
    if found is None:
        raise UnknownBlueprint(blueprint_id, (*CATALOGUE, *(each.descriptor.blueprint_id for each in all_registered())))
    if version and version != found.version:
        raise VersionUnknown(name, version, found.version)
    return found


def known(blueprint_id: str) -> bool:
    """Whether there is such a blueprint here, in the catalogue or of the user's own."""
    return blueprint_id in CATALOGUE or registered(blueprint_id) is not None


def traits(blueprint_id: str) -> Traits:
    """Return what is known of *blueprint_id* beside its descriptor; raises as `descriptor` does."""
    return _DECLARED[descriptor(blueprint_id).blueprint_id].traits


def versioned(described: BlueprintDescriptor) -> str:
    """Return the id that no other content will ever have: "BP021@1.0.0"."""
    return f"{described.blueprint_id}@{described.version}"
