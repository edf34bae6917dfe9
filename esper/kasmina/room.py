"""Whether a device has room for another seed."""

from typing import NamedTuple

import torch

# A growing seed has weights, gradients, and two moments of each.
COPIES = 4


class Room(NamedTuple):
    """Bytes of one device: what may still be allocated, and all there are."""

    free: int
    total: int

    def lacks(self, need: int, reserve_share: float) -> str:
        """Say why *need* bytes do not fit beside a reserve of *reserve_share* of the device; empty if they do."""
        reserve = int(self.total * reserve_share)
        if need + reserve <= self.free:
            return ""
        sizes = (f"{number / 2**20:.1f} MiB" for number in (need, reserve, self.free))
        return "a growing seed needs {}, and with a reserve of {} that is more than the {} that are free".format(*sizes)


def seed_bytes(parameters: int, dtype: torch.dtype) -> int:
    """Return what a growing seed of so many parameters takes, but for its activations."""
    return COPIES * parameters * dtype.itemsize


def room_on(device: torch.device) -> Room | None:
    """Return the room on a CUDA device, with what torch holds there and does not use; None elsewhere."""
    if device.type != "cuda":
        return None
    free, total = torch.cuda.mem_get_info(device)
    idle = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return Room(free + idle, total)
