"""How each seed of a run ended: kept or removed, and the measured reason."""

from collections.abc import Iterator, Mapping

import msgspec

from esper.kasmina.rules.seed import Seed
from esper.leyline.v1.enums_pb2 import SeedLifecycleStage as Stage


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """One seed's end; `epoch` is the one at whose end it was seen."""

    epoch: int
    site: str
    generation: int
    blueprint_id: str
    kept: bool
    reason: str

    def __str__(self) -> str:
        word = "kept" if self.kept else "culled"
        return f"epoch {self.epoch}: {self.blueprint_id} at {self.site} {word}: {self.reason}"


class Endings:
    """Collects the end of every seed, from the slots as they stand after each epoch."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, int], Ending] = {}

    def __iter__(self) -> Iterator[Ending]:
        return iter(self._found.values())

    def look(self, epoch: int, seeds: Mapping[str, Seed]) -> list[Ending]:
        """Return the endings that are new among *seeds*, by site label, at the end of *epoch*."""
        fresh = [
            ending
            for site, seed in seeds.items()
            if (site, seed.generation) not in self._found and (ending := _ending(epoch, site, seed)) is not None
        ]
        self._found |= {(ending.site, ending.generation): ending for ending in fresh}
        return fresh


def _ending(epoch: int, site: str, seed: Seed) -> Ending | None:
    kept = seed.stage == Stage.SEED_STAGE_FOSSILIZED
    if not kept and not seed.cull_reason:
        return None
    worth = "" if seed.contribution is None else f"worth {100 * seed.contribution:+.2f} points of held-out accuracy"
    return Ending(
        epoch=epoch,
        site=site,
        generation=seed.generation,
        blueprint_id=seed.blueprint_id,
        kept=kept,
        reason=worth if kept else seed.cull_reason,
    )
