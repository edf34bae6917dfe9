"""The parts that attention is put together from."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from esper.karn.modules.layers import Grown, counted, unflattened

# Dimensions: B batch, H heads, N positions, D features of a head, C channels, W inner width (H D), L block length.

# Far below any score, and still a number in half precision.
NEVER = -1e4


def in_heads(features_BNW: Tensor, heads: int) -> Tensor:
    """Return (B, H, N, D)."""
    return unflattened(features_BNW, -1, (heads, -1)).transpose(-2, -3)


def out_of_heads(features_BHND: Tensor) -> Tensor:
    """Return (B, N, W)."""
    return features_BHND.transpose(-2, -3).flatten(-2)


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return for each query the mean of the values, weighted by how well their keys fit; *mask* is added to scores."""
    scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
    return torch.softmax(scores if mask is None else scores + mask.to(scores.dtype), -1) @ value


class Attention(Grown):
    """Many-headed self-attention over (..., N, C), without biases; the last map is zero at birth."""

    def __init__(self, channels: int, *, heads: int, width: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(channels, width, bias=False)
        self.key = nn.Linear(channels, width, bias=False)
        self.value = nn.Linear(channels, width, bias=False)
        self.out = nn.Linear(width, channels, bias=False)

    def zero_at_birth(self) -> Iterable[Tensor]:
        """Return the last map."""
        return (self.out.weight,)

    def forward(self, features_BNC: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return what each position gathers from the others."""
        query, key, value = (in_heads(of(features_BNC), self.heads) for of in (self.query, self.key, self.value))
        return self.out(out_of_heads(attend(query, key, value, mask)))


def rotation(like: Tensor, positions: int, half: int, base: float) -> tuple[Tensor, Tensor]:
    """Return cosines and sines (N, half) of the angles by which rotary embeddings (Su et al. 2021) turn positions."""
    speeds = torch.exp(counted(like, half) * (-math.log(base) / half))
    angles = counted(like, positions).unsqueeze(1) * speeds
    return torch.cos(angles).to(like.dtype), torch.sin(angles).to(like.dtype)


def rotated(features_BHND: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """Return *features_BHND* with each pair of features turned by its position's angle."""
    half = features_BHND.shape[-1] // 2
    cosine, sine = turn
    one, other = features_BHND[..., :half], features_BHND[..., half:]
    return torch.cat([one * cosine - other * sine, one * sine + other * cosine], -1)


class Blocks(nn.Module):
    """Cuts a grid of positions into equal blocks and puts it together again; what sticks out is filled and masked."""

    def __init__(self, grid: tuple[int, ...], length: int) -> None:
        super().__init__()
        self.grid = grid
        self.sides = tuple(min(length, extent) for extent in grid)
        self.counts = tuple(math.ceil(extent / side) for extent, side in zip(grid, self.sides, strict=True))
        missing = [count * side - extent for count, side, extent in zip(self.counts, self.sides, grid, strict=True)]
        self.whole = not any(missing)
        # Of F.pad: the last dimension first, channels not at all.
        self.filling = (0, 0, *(number for lack in reversed(missing) for number in (0, lack)))

    def cut(self, features_BNC: Tensor) -> Tensor:
        """Return (B, blocks, L, C)."""
        on_grid = unflattened(features_BNC, 1, self.grid) if len(self.grid) > 1 else features_BNC
        full = on_grid if self.whole else F.pad(on_grid, self.filling)
        if len(self.grid) == 1:
            return unflattened(full, 1, (self.counts[0], self.sides[0]))
        rows = unflattened(unflattened(full, 2, (self.counts[1], self.sides[1])), 1, (self.counts[0], self.sides[0]))
        return rows.transpose(2, 3).flatten(3, 4).flatten(1, 2)

    def joined(self, blocks: Tensor) -> Tensor:
        """Return (B, N, C) from blocks (B, blocks, L, C)."""
        if len(self.grid) == 1:
            return blocks.flatten(1, 2)[:, : self.grid[0]]
        rows = unflattened(unflattened(blocks, 2, self.sides), 1, self.counts).transpose(2, 3)
        full = rows.flatten(3, 4).flatten(1, 2)
        return full[:, : self.grid[0], : self.grid[1]].flatten(1, 2)

    def mask(self, like_BNC: Tensor) -> Tensor | None:
        """Return what to add to scores so that no position attends to a filled one; None if there is none."""
        if self.whole:
            return None
        there = self.cut(like_BNC.new_ones(1, math.prod(self.grid), 1))
        return ((1.0 - there) * NEVER).transpose(-1, -2)
