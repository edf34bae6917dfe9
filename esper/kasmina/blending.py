"""How a seed's output joins the host's activation.

With h the host's activation, s what the seed returned and m its *move* (s if the seed adds, s - h if it replaces):

CONVEX, RESIDUAL  h + alpha * m                       at alpha 1 the seed in place of h, or on top of it
CHANNEL           h + clamp(alpha * share_c) * m      at alpha 1 each channel's own share of the move
CONFIDENCE        h + alpha * g * m                   g = clamp(sigmoid(k * (margin - threshold))), constant in backward
MULTIPLY          h * (1 + alpha * tanh(m))           at alpha 1 each number between 0 and twice the host's
GATE              h + clamp(alpha * gate(x)) * m      gate(x) learned from the seed's input, between 0 and 1

At alpha 0 each is the host's bits, and the host's gradient, whatever the seed says.
"""

import torch
from torch import Tensor, nn

from esper.kasmina.draws import OwnDraws
from esper.kasmina.rules.blend import adds, channels
from esper.leyline.v1.enums_pb2 import BlendMode, SiteKind
from esper.leyline.v1.site_pb2 import BlendOptions, SiteShape

LEAST_GATE_WIDTH = 8
# So that a gate's first draws are not those of the seed's dropout.
GATE_DRAWS = 0x6761746573


class Blend(nn.Module):
    """One seed's way into the host's activation; only GATE has parameters. Traceable by torch.fx.

    *host* and *seed* have one shape, sample first; *entry* is what the seed read; *alpha* is a 0-dim tensor, or a
    number where it never moves again.
    """

    def __init__(self, mode: BlendMode, options: BlendOptions | None, shape: SiteShape, *, init_seed: int = 0) -> None:
        super().__init__()
        self.mode = mode
        self.adds = adds(mode, options)
        self._options = options or BlendOptions()
        self._channel = 1 if shape.output_kind == SiteKind.SITE_KIND_IMAGE else -1
        if mode == BlendMode.BLEND_MODE_CHANNEL:
            self.shares = nn.Buffer(_along_channels(self._options, shape))
        if mode == BlendMode.BLEND_MODE_GATE:
            self.gate = Gate(shape, init_seed)

    def move(self, host: Tensor, seed: Tensor) -> Tensor:
        """Return where the seed wants *host* to go."""
        return seed if self.adds else seed - host

    def gain(self, host: Tensor, seed: Tensor, entry: Tensor, alpha: Tensor | float) -> Tensor:
        """Return what *host* gains at *alpha*."""
        return self._gain(host, self.move(host, seed), entry, alpha)

    def forward(self, host: Tensor, seed: Tensor, entry: Tensor, alpha: Tensor) -> Tensor:
        """Return the activation that the model goes on with."""
        move = self.move(host, seed)
        # Twice, because 0 * NaN is NaN: in what is added, and in the gradient that goes back to the host.
        move = torch.where(alpha == 0, torch.zeros_like(move), move)
        return torch.where(alpha == 0, host, host + self._gain(host, move, entry, alpha))

    def _gain(self, host: Tensor, move: Tensor, entry: Tensor, alpha: Tensor | float) -> Tensor:
        match self.mode:
            case BlendMode.BLEND_MODE_CHANNEL:
                return (alpha * self.shares.to(host.dtype)).clamp(0.0, 1.0) * move
            case BlendMode.BLEND_MODE_CONFIDENCE:
                return alpha * self._confidence((host + move).detach()) * move
            case BlendMode.BLEND_MODE_MULTIPLY:
                return alpha * (host * torch.tanh(move))
            case BlendMode.BLEND_MODE_GATE:
                return (alpha * self.gate(entry).to(host.dtype)).clamp(0.0, 1.0) * move
            case _:
                return alpha * move

    def _confidence(self, logits: Tensor) -> Tensor:
        """Return how sure the answer with the seed is: its two largest logits apart, squashed."""
        chosen = self._options
        largest = torch.topk(logits, 2, dim=self._channel)[0]
        margin = largest.narrow(self._channel, 0, 1) - largest.narrow(self._channel, 1, 1)
        sure = torch.sigmoid(chosen.steepness * (margin - chosen.threshold))
        return sure.clamp(chosen.lowest, chosen.highest)


class Gate(nn.Module):
    """Learns from a seed's input how much of the seed to let in: one number for each sample, between 0 and 1.

    For sequences one number for each position, from that position alone: the host may be causal. What it reads is
    detached, so that it teaches the host nothing. Half open at birth.
    """

    def __init__(self, shape: SiteShape, init_seed: int) -> None:
        super().__init__()
        image, sequence = SiteKind.SITE_KIND_IMAGE, SiteKind.SITE_KIND_SEQUENCE
        width = shape.input_size[0] if shape.input_kind == image else shape.input_size[-1]
        each = shape.input_kind == sequence and shape.output_kind == sequence
        self._pooled = {image: (2, 3), sequence: () if each else (1,)}.get(shape.input_kind, ())
        self._gained = len(shape.output_size) - (2 if each else 1)
        hidden, dtype = max(LEAST_GATE_WIDTH, width // 4), getattr(torch, shape.dtype)
        with OwnDraws(init_seed ^ GATE_DRAWS).on(torch.device("cpu")):
            self.inner = nn.Linear(width, hidden, dtype=dtype)
            self.outer = nn.Linear(hidden, 1, dtype=dtype)
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)

    def forward(self, entry: Tensor) -> Tensor:
        """Return the share to let in, with as many dimensions as the site's output."""
        read = entry.detach().to(self.inner.weight.dtype)
        if self._pooled:
            read = read.mean(self._pooled)
        share = torch.sigmoid(self.outer(torch.relu(self.inner(read))))
        for _ in range(self._gained):
            share = share.unsqueeze(-1)
        return share


def _along_channels(options: BlendOptions, shape: SiteShape) -> Tensor:
    shares = torch.tensor(list(options.channel_shares))
    if len(shares) != channels(shape):
        raise ValueError(f"{len(shares)} shares for {channels(shape)} channels")
    return shares.view(-1, 1, 1) if shape.output_kind == SiteKind.SITE_KIND_IMAGE else shares
