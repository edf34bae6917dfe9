"""The seeds that a checkpoint's map names, planted again from their verified kernels."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import nn

from actors.place import Place
from esper.api.errors import BlueprintMissing, KernelLost
from esper.api.growth import LIVING, PLANTED, Growth
from esper.api.kernels import kernel_spec, open_verified
from esper.karn.catalogue import CATALOGUE
from esper.kasmina.rules.seed import Seed, SeedEvent, evolve
from esper.leyline.v1.run_pb2 import Checkpoint
from esper.leyline.v1.seed_pb2 import SeedGerminated
from esper.urza.errors import BundleRefused
from eventstore.store import Recorded


def fold_to(growth: Growth, checkpoint: Checkpoint, seeds: Mapping[str, Sequence[Recorded]]) -> None:
    """Fold each slot's stream, from *seeds*, up to the version that *checkpoint* holds; the model is not touched."""
    for row in checkpoint.seeds:
        for recorded in seeds[row.seed_id]:
            if recorded.version <= row.version:
                growth.fold(row.seed_id, cast("SeedEvent", recorded.event))


def regrow(
    growth: Growth, parts: Mapping[str, Any], place: Place, model: nn.Module, optimizer: torch.optim.Optimizer
) -> None:
    """Plant the seeds that *growth* has folded, with the weights that the checkpoint's *parts* hold of them.

    Kept seeds join *optimizer*, in the order in which they joined it at first.

    Raises:
        KernelLost: a seed's kernel no longer verifies; nothing was planted.
    """
    modules = {seed_id: _module(seed_id, growth, place, model) for seed_id in growth.seeds}
    kept = growth.fossilized()
    for seed_id in (*kept, *(seed_id for seed_id in growth.seeds if seed_id not in kept)):
        saved: Mapping[str, Any] = parts[f"seed/{seed_id}"]
        growth.slots[seed_id].load_state(
            saved["tensors"],
            saved["facts"],
            module=modules[seed_id],
            learning_rate=growth.learning_rate(seed_id),
            optimizer=optimizer,
        )


def require_blueprints(checkpoint: Checkpoint, seeds: Mapping[str, Sequence[Recorded]]) -> None:
    """Make sure that this program has the own blueprints of all seeds that live at *checkpoint*, or come after it.

    Raises:
        BlueprintMissing: it lacks one, or has another under that name.
    """
    for row in checkpoint.seeds:
        seed = Seed()
        for recorded in seeds[row.seed_id]:
            seed = evolve(seed, cast("SeedEvent", recorded.event))
            lives = recorded.version == row.version and seed.stage in LIVING
            comes = recorded.version > row.version and isinstance(recorded.event, SeedGerminated)
            if seed.blueprint_id not in CATALOGUE and (lives or comes):
                _require_blueprint(row.seed_id, seed)


def _require_blueprint(seed_id: str, seed: Seed) -> None:
    try:
        kernel_spec(seed)
    except BundleRefused as refused:
        raise BlueprintMissing(seed_id, seed.blueprint_id, refused.detail) from refused


def _module(seed_id: str, growth: Growth, place: Place, model: nn.Module) -> nn.Module | None:
    seed = growth.seeds[seed_id]
    if seed.stage not in PLANTED:
        return None
    try:
        return open_verified(place, model, seed, seed.kernel_id, growth.kernels).module
    except BundleRefused as refused:
        raise KernelLost(seed_id, seed.kernel_id, str(refused)) from refused
