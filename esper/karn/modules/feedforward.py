"""The gated feed-forward network."""

from torch import Tensor, nn
from torch.nn import functional as F

from esper.karn.modules.layers import channel_mix, entrance, projection
from esper.karn.route import Route


class GatedFeedForward(nn.Module):
    """BP021: SwiGLU (Shazeer 2020) with dropout on the hidden units; the last map is zero at birth."""

    def __init__(self, way: Route, *, hidden: int, dropout: float) -> None:
        super().__init__()
        self.entrance = entrance(way)
        self.gate = projection(way, hidden, bias=True)
        self.value = projection(way, hidden, bias=True)
        self.dropout = nn.Dropout(dropout)
        self.out = channel_mix(way.output_kind, hidden, way.channels_out, bias=True)

    def forward(self, features: Tensor) -> Tensor:
        """Return what to add to the host's features."""
        entered = self.entrance(features)
        return self.out(self.dropout(F.silu(self.gate(entered)) * self.value(entered)))
