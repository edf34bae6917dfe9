"""The digests of what each version of a blueprint stands for. Run: python -m tests.karn.versions, to add new versions.

A version that is there already is never written over: give the blueprint a new one.
"""

import json
from pathlib import Path

from torch.fx import symbolic_trace

from esper.karn.builders import build
from esper.karn.catalogue import CATALOGUE, versioned
from esper.karn.manifest import reference_site
from esper.leyline.canonical import canonical_bytes, sha256_hex
from esper.leyline.v1.blueprint_pb2 import BlueprintDescriptor

PAGE = Path(__file__).with_name("versions.json")


def digest(described: BlueprintDescriptor) -> str:
    """Digest the descriptor, and the layers, operations and tensors of what is built at each reference site.

    First values are left out: their last bits are the processor's. That they follow from the seed is tested elsewhere.
    """
    said = [sha256_hex(canonical_bytes(described))]
    for kind in () if described.quarantine_only else described.kinds:
        module = build(described.blueprint_id, {}, reference_site(kind), 7)
        said += [f"{kind} {name} {tuple(own.shape)}" for name, own in sorted(module.state_dict().items())]
        said += [f"{type(layer).__name__} {layer.extra_repr()}" for layer in module.modules()]
        said.append(symbolic_trace(module).code)
    return sha256_hex("\n".join(said).encode())


def recorded() -> dict[str, str]:
    """Return the digests of all versions there have been."""
    return json.loads(PAGE.read_text()) if PAGE.exists() else {}


if __name__ == "__main__":
    now = {versioned(row): digest(row) for row in CATALOGUE.values()}
    PAGE.write_text(json.dumps(now | recorded(), indent=1) + "\n")
