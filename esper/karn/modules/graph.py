"""Attention over a graph of neighbours."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from esper.karn.modules.attending import NEVER
from esper.karn.modules.layers import ChannelGain, Grown, unflattened, uniform, widened
from esper.karn.route import Route
from esper.karn.widths import VECTOR_NODES, padded
from esper.leyline.v1.enums_pb2 import SITE_KIND_IMAGE, SITE_KIND_SEQUENCE

# Dimensions: B batch, C channels, M neighbours (with itself), G grid.


class GraphAttention(Grown):
    """BP030 (after Velickovic et al. 2018): each node weighs itself and its neighbours, `hops` times over.

    Nodes are pixels (four neighbours), steps (two), or of a vector four groups of its channels in a row. All hops
    share their weights; a gain, zero at birth, lets the result out.
    """

    def __init__(self, way: Route, *, hops: int) -> None:
        super().__init__()
        self.kind, self.hops, self.channels = way.input_kind, hops, way.channels_in
        vector = way.input_kind not in (SITE_KIND_IMAGE, SITE_KIND_SEQUENCE)
        width = padded(way.channels_in, VECTOR_NODES) // VECTOR_NODES if vector else way.channels_in
        self.missing = VECTOR_NODES * width - way.channels_in if vector else 0
        self.grid = (VECTOR_NODES,) if vector else way.grid_in
        self.map = nn.Linear(width, width, bias=False)
        self.asks = nn.Parameter(torch.empty(width))
        self.answers = nn.Parameter(torch.empty(width))
        self.gain = ChannelGain(way.channels_out, way.output_kind)

    def draw(self, generator: torch.Generator) -> None:
        """Draw the two vectors that score a pair of nodes."""
        for parameter in (self.asks, self.answers):
            uniform(parameter, parameter.numel(), generator)

    def forward(self, features: Tensor) -> Tensor:
        """Return what to add to the host's features."""
        nodes = self._nodes(features)
        for _ in range(self.hops):
            nodes = self._hop(nodes)
        return self.gain(self._features(nodes))

    def _nodes(self, features: Tensor) -> Tensor:
        """Return (B, G, C)."""
        if self.kind == SITE_KIND_IMAGE:
            return features.permute(0, 2, 3, 1)
        if self.kind == SITE_KIND_SEQUENCE:
            return features
        return unflattened(widened(features, -1, self.missing), 1, (VECTOR_NODES, -1))

    def _features(self, nodes: Tensor) -> Tensor:
        if self.kind == SITE_KIND_IMAGE:
            return nodes.permute(0, 3, 1, 2)
        return nodes if self.kind == SITE_KIND_SEQUENCE else nodes.flatten(1).narrow(1, 0, self.channels)

    def _hop(self, nodes_BGC: Tensor) -> Tensor:
        mapped = self.map(nodes_BGC)
        around = torch.stack(self._around(mapped), -2)
        scores = (mapped * self.asks).sum(-1, keepdim=True) + (around * self.answers).sum(-1)
        nowhere = torch.stack(self._around(nodes_BGC.new_ones(1, *self.grid, 1)), -2)[..., 0] - 1.0
        weights = torch.softmax(F.leaky_relu(scores, 0.2) - nowhere * NEVER, -1)
        return F.elu((weights.unsqueeze(-1) * around).sum(-2))

    def _around(self, nodes: Tensor) -> list[Tensor]:
        """Return the nodes themselves and their neighbours on each side, zero where there is none."""
        found = [nodes]
        for place, extent in enumerate(self.grid):
            dimension = place + 1
            side = (0, 0) * (len(self.grid) - place)
            later = F.pad(nodes, (*side, 0, 1)).narrow(dimension, 1, extent)
            earlier = F.pad(nodes, (*side, 1, 0)).narrow(dimension, 0, extent)
            found += [later, earlier]
        return found
