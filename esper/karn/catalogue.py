"""The blueprints that can be grown: what each is, what it may be asked for, and where it fits."""

from collections.abc import Mapping
from types import MappingProxyType

from esper.karn.declaration import Declaration, Traits
from esper.karn.declarations import adversarial, deep, experimental, plain, transformer
from esper.karn.errors import UnknownBlueprint, VersionUnknown
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

    Raises:
        UnknownBlueprint: it holds no such blueprint.
        VersionUnknown: it holds another version.
    """
    name, _, version = blueprint_id.partition("@")
    found = CATALOGUE.get(name)
    if found is None:
        raise UnknownBlueprint(blueprint_id, tuple(CATALOGUE))
    if version and version != found.version:
        raise VersionUnknown(name, version, found.version)
    return found


def traits(blueprint_id: str) -> Traits:
    """Return what is known of *blueprint_id* beside its descriptor; raises as `descriptor` does."""
    return _DECLARED[descriptor(blueprint_id).blueprint_id].traits


def versioned(described: BlueprintDescriptor) -> str:
    """Return the id that no other content will ever have: "BP021@1.0.0"."""
    return f"{described.blueprint_id}@{described.version}"
