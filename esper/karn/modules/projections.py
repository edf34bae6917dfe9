"""Linear maps: of full rank with a gain, and of low rank."""

from torch import Tensor, nn

from esper.karn.modules.layers import ChannelGain, channel_mix, entrance, projection
from esper.karn.route import Route


class LinearProjection(nn.Module):
    """BP002: an orthogonal map times `scale`, times a gain per channel that is zero at birth."""

    def __init__(self, way: Route, *, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.entrance = entrance(way)
        self.projection = projection(way, way.channels_out, bias=False)
        self.gain = ChannelGain(way.channels_out, way.output_kind)

    def forward(self, features: Tensor) -> Tensor:
        """Return what to add to the host's features."""
        return self.gain(self.projection(self.entrance(features)))


class LowRankAdapter(nn.Module):
    """BP-PROJ-LoRA-64: down to `rank` features, up again, times `scale`; the way up is zero at birth."""

    def __init__(self, way: Route, *, rank: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.entrance = entrance(way)
        self.down = projection(way, rank, bias=False)
        self.up = channel_mix(way.output_kind, rank, way.channels_out, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Return what to add to the host's features."""
        return self.up(self.down(self.entrance(features))) * self.scale
