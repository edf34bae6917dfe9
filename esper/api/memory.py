"""What growing may take of memory: the kernels that are kept at hand, and room for one seed more."""

import torch

from esper.api.growth import Growth
from esper.api.settings import KernelLimits
from esper.karn.counting import parameter_count
from esper.kasmina.room import Room, room_on, seed_bytes
from esper.leyline.v1.site_pb2 import SiteShape

MIB = 2**20


class Memory:
    """Says whether another seed fits, and makes room for it where that can be done. Training thread only."""

    def __init__(self, growth: Growth, limits: KernelLimits) -> None:
        self._growth, self._limits = growth, limits

    def denies(self, seed_id: str) -> str:
        """Say why the seed that germinated in the slot of *seed_id* does not fit; empty if it does.

        If it does not, the kernels that no seed is growing from are let go of first.
        """
        seed = self._growth.seeds[seed_id]
        shape = seed.shape or SiteShape()
        need = seed_bytes(parameter_count(seed.blueprint_id, seed.parameters, shape), getattr(torch, shape.dtype))
        if not self._lacks(seed_id, need):
            return ""
        self._growth.kernels.clean_up()
        if self._growth.slots[seed_id].device.type == "cuda":
            torch.cuda.empty_cache()
        return self._lacks(seed_id, need)

    def _lacks(self, seed_id: str, need: int) -> str:
        room = room_on(self._growth.slots[seed_id].device)
        if room is not None:
            return room.lacks(need, self._limits.reserve_share)
        if self._limits.memory_mib is None:
            return ""
        total = int(self._limits.memory_mib * MIB)
        used = seed_bytes(self._growth.growing_parameters, torch.float32) + self._growth.kernels.bytes
        return Room(max(0, total - used), total).lacks(need, 0.0)
