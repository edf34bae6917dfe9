"""Attention in the forms that blueprints give it; every last map is zero at birth."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from esper.karn.modules.attending import Attention, Blocks, attend, in_heads, out_of_heads, rotated, rotation
from esper.karn.modules.layers import OnPositions, counted, unflattened
from esper.karn.route import Route
from esper.karn.widths import even_heads, padded

LEARNED_TOKENS = 16
SPLIT_HEADS = CACHE_HEADS = 4
FLASH_HEADS = GROUPED_HEADS = 8
ROTARY_BASE = 1e4


class ManyHeadedAttention(OnPositions):
    """BP022 and BP029: self-attention with the number of heads as asked for."""

    def __init__(self, way: Route, *, heads: int) -> None:
        super().__init__(way)
        channels = way.channels_in
        self.attention = Attention(channels, heads=heads, width=padded(channels, heads))

    def forward(self, features: Tensor) -> Tensor:
        """Return what to add to the host's features."""
        return self.leave(self.attention(self.enter(features)))


class BlockAttention(OnPositions):
    """BP020: one head, inside blocks of so many positions, row by row."""

    def __init__(self, way: Route, *, length: int) -> None:
        super().__init__(way)
        self.blocks = Blocks((self.positions,), length)
        self.attention = Attention(way.channels_in, heads=1, width=way.channels_in)

    def forward(self, features: Tensor) -> Tensor:
        """Return what to add to the host's features."""
        entered = self.enter(features)
        mask = self.blocks.mask(entered)
        masked = None if mask is None else mask.unsqueeze(2)
        return self.leave(self.blocks.joined(self.attention(self.blocks.cut(entered), masked)))


class CrossAttention(OnPositions):
    """BP019: each position asks sixteen learned tokens."""

    def __init__(self, way: Route, *, heads: int) -> None:
        super().__init__(way)
        channels, width = way.channels_in, padded(way.channels_in, heads)
        self.heads = heads
        self.tokens = nn.Parameter(torch.empty(LEARNED_TOKENS, channels))
        self.query = nn.Linear(channels, width, bias=False)
        self.key = nn.Linear(channels, width, bias=False)
        self.value = nn.Linear(channels, width, bias=False)
        self.out = nn.Linear(width, channels, bias=False)

    def zero_at_birth(self) -> Iterable[Tensor]:
        """Return the last map."""
        return (self.out.weight,)

    def draw(self, generator: torch.Generator) -> None:
        """Draw the tokens."""
        nn.init.normal_(self.tokens, generator=generator)

    def forward(self, features: Tensor) -> Tensor:
        """Return what to add to the host's features."""
        query = in_heads(self.query(self.enter(features)), self.heads)
        key, value = (in_heads(of(self.tokens), self.heads) for of in (self.key, self.value))
        return self.leave(self.out(out_of_heads(attend(query, key, value))))


class NonLocal(OnPositions):
    """BP034 (Wang et al. 2018): embedded-Gaussian attention of half the width, inside windows of the grid."""

    def __init__(self, way: Route, *, window: int) -> None:
        super().__init__(way)
        self.blocks = Blocks(way.grid_in, window)
        self.attention = Attention(way.channels_in, heads=1, width=(way.channels_in + 1) // 2)

    def forward(self, features: Tensor) -> Tensor:
        """Return what to add to the host's features."""
        entered = self.enter(features)
        mask = self.blocks.mask(entered)
        masked = None if mask is None else mask.unsqueeze(2)
        return self.leave(self.blocks.joined(self.attention(self.blocks.cut(entered), masked)))


class PositionedAttention(OnPositions):
    """BP-ATTN-STD: self-attention that knows positions, by rotation or, with `sinusoid`, by adding waves."""

    def __init__(self, way: Route, *, heads: int, sinusoid: bool) -> None:
        super().__init__(way)
        channels, width = way.channels_in, even_heads(way.channels_in, heads)
        self.heads, self.pairs, self.sinusoid, self.channels = heads, width // heads // 2, sinusoid, channels
        self.query_key_value = nn.Linear(channels, 3 * width, bias=False)
        self.out = nn.Linear(width, channels, bias=False)

    def zero_at_birth(self) -> Iterable[Tensor]:
        """Return the last map."""
        return (self.out.weight,)

    def forward(self, features: Tensor) -> Tensor:
        """Return what to add to the host's features."""
        entered = self.enter(features)
        if self.sinusoid:
            half = (self.channels + 1) // 2
            waves = torch.cat(rotation(entered, self.positions, half, ROTARY_BASE), -1)
            entered = entered + waves[:, : self.channels]
        mixed = unflattened(self.query_key_value(entered), -1, (3, self.heads, -1)).transpose(1, 3)
        query, key, value = mixed[:, :, 0], mixed[:, :, 1], mixed[:, :, 2]
        if not self.sinusoid:
            turn = rotation(query, self.positions, self.pairs, ROTARY_BASE)
            query, key = rotated(query, turn), rotated(key, turn)
        return self.leave(self.out(out_of_heads(attend(query, key, value))))


class SplitAttention(OnPositions):
    """BP-ATTN-SPLIT-QK: up to twice as many heads of keys and values as of queries; the extra ones ask again."""

    def __init__(self, way: Route, *, multiple: float) -> None:
        super().__init__(way)
        channels, width = way.channels_in, padded(way.channels_in, SPLIT_HEADS)
        self.heads = round(SPLIT_HEADS * multiple)
        wider = self.heads * width // SPLIT_HEADS
        self.query = nn.Linear(channels, width, bias=False)
        self.key = nn.Linear(channels, wider, bias=False)
        self.value = nn.Linear(channels, wider, bias=False)
        self.out = nn.Linear(wider, channels, bias=False)

    def zero_at_birth(self) -> Iterable[Tensor]:
        """Return the last map."""
        return (self.out.weight,)

    def forward(self, features: Tensor) -> Tensor:
        """Return what to add to the host's features."""
        entered = self.enter(features)
        query = in_heads(self.query(entered), SPLIT_HEADS)
        asked = torch.cat([query, query[:, : self.heads - SPLIT_HEADS]], 1)
        key, value = (in_heads(of(entered), self.heads) for of in (self.key, self.value))
        return self.leave(self.out(out_of_heads(attend(asked, key, value))))


class FlashAttention(OnPositions):
    """BP-FLASH-ATTN-V2: eight heads through torch's fused attention, which falls back to plain arithmetic."""

    def __init__(self, way: Route) -> None:
        super().__init__(way)
        channels, width = way.channels_in, padded(way.channels_in, FLASH_HEADS)
        self.query_key_value = nn.Linear(channels, 3 * width, bias=False)
        self.out = nn.Linear(width, channels, bias=False)

    def zero_at_birth(self) -> Iterable[Tensor]:
        """Return the last map."""
        return (self.out.weight,)

    def forward(self, features: Tensor) -> Tensor:
        """Return what to add to the host's features."""
        mixed = unflattened(self.query_key_value(self.enter(features)), -1, (3, FLASH_HEADS, -1)).transpose(1, 3)
        fused = F.scaled_dot_product_attention(mixed[:, :, 0], mixed[:, :, 1], mixed[:, :, 2])
        return self.leave(self.out(out_of_heads(fused)))


class GroupedQueryAttention(OnPositions):
    """BP-KV-GROUPED-ROPE (after Ainslie et al. 2023): eight heads of queries share few of keys; rotary positions."""

    def __init__(self, way: Route, *, groups: int, base: float) -> None:
        super().__init__(way)
        channels, width = way.channels_in, even_heads(way.channels_in, GROUPED_HEADS)
        each = width // GROUPED_HEADS
        self.groups, self.base, self.pairs = groups, base, each // 2
        self.shared = [head * groups // GROUPED_HEADS for head in range(GROUPED_HEADS)]
        self.query = nn.Linear(channels, width, bias=False)
        self.key = nn.Linear(channels, groups * each, bias=False)
        self.value = nn.Linear(channels, groups * each, bias=False)
        self.out = nn.Linear(width, channels, bias=False)

    def zero_at_birth(self) -> Iterable[Tensor]:
        """Return the last map."""
        return (self.out.weight,)

    def forward(self, features: Tensor) -> Tensor:
        """Return what to add to the host's features."""
        entered = self.enter(features)
        query = in_heads(self.query(entered), GROUPED_HEADS)
        key, value = (in_heads(of(entered), self.groups) for of in (self.key, self.value))
        turn = rotation(query, self.positions, self.pairs, self.base)
        query, key = rotated(query, turn), rotated(key, turn)
        return self.leave(self.out(out_of_heads(attend(query, key[:, self.shared], value[:, self.shared]))))


class CachedAttention(OnPositions):
    """BP-KV-CACHE-8BIT: four heads whose keys and values are kept in eight bits, each head with a scale of its own.

    The error of a number is at most its head's greatest one, divided by 254. Gradients pass as if nothing was rounded.
    """

    STEPS = 127.0

    def __init__(self, way: Route) -> None:
        super().__init__(way)
        width = padded(way.channels_in, CACHE_HEADS)
        self.attention = Attention(way.channels_in, heads=CACHE_HEADS, width=width)

    def forward(self, features: Tensor) -> Tensor:
        """Return what to add to the host's features."""
        entered, inner = self.enter(features), self.attention
        query, key, value = (in_heads(of(entered), CACHE_HEADS) for of in (inner.query, inner.key, inner.value))
        kept = attend(query, self.kept(key), self.kept(value))
        return self.leave(inner.out(out_of_heads(kept)))

    def kept(self, features_BHND: Tensor) -> Tensor:
        """Return what eight bits keep of *features_BHND*."""
        scale = features_BHND.detach().abs().amax((-1, -2), keepdim=True).clamp(min=1e-12) / self.STEPS
        rounded = torch.round(features_BHND / scale).clamp(-self.STEPS, self.STEPS) * scale
        return features_BHND + (rounded - features_BHND).detach()


class LearnedPositions(OnPositions):
    """BP035: adds what a map, zero at birth, makes of waves over the positions; `frequency` is the fastest one's."""

    BANDS = 16

    def __init__(self, way: Route, *, frequency: float) -> None:
        super().__init__(way)
        self.frequency = frequency
        self.map = nn.Linear(2 * self.BANDS * len(way.grid_in), way.channels_out, bias=False)

    def zero_at_birth(self) -> Iterable[Tensor]:
        """Return the map."""
        return (self.map.weight,)

    def forward(self, features: Tensor) -> Tensor:
        """Return what to add to the host's features."""
        entered = self.enter(features)
        speeds = torch.exp(counted(entered, self.BANDS) * -0.5) * (torch.pi * self.frequency)
        places = [counted(entered, extent) for extent in self.grid]
        if len(places) == 2:
            row = places[0].unsqueeze(1) + places[1] * 0.0
            column = places[0].unsqueeze(1) * 0.0 + places[1]
            places = [row.flatten(), column.flatten()]
        angles = torch.cat([place.unsqueeze(1) * speeds for place in places], 1)
        waves = torch.cat([torch.sin(angles), torch.cos(angles)], 1).to(entered.dtype)
        return self.leave(self.map(waves).unsqueeze(0).expand(entered.shape[0], -1, -1))
