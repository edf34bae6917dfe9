"""Depthwise-separable convolution."""

from torch import Tensor, nn

from esper.karn.modules.layers import ChannelGain
from esper.karn.route import Route
from esper.leyline.v1.enums_pb2 import SITE_KIND_IMAGE


class ImageDepthwise(nn.Module):
    """BP015 on images: k x k filter per channel, norm, 1x1 mix, and a gain that is zero at birth."""

    def __init__(self, way: Route, *, kernel: int) -> None:
        super().__init__()
        into, out = way.channels_in, way.channels_out
        self.filter = nn.Conv2d(into, into, kernel_size=kernel, padding=kernel // 2, groups=into, bias=False)
        resized = way.grid_in != way.grid_out
        self.pool = nn.AdaptiveAvgPool2d((way.grid_out[0], way.grid_out[1])) if resized else nn.Identity()
        self.norm = nn.GroupNorm(1, into)
        self.act = nn.GELU()
        self.mix = nn.Conv2d(into, out, kernel_size=1, bias=False)
        self.gain = ChannelGain(out, way.output_kind)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """Return what to add to the host's features."""
        return self.gain(self.mix(self.act(self.norm(self.pool(self.filter(image_BCHW))))))


class SequenceDepthwise(nn.Module):
    """BP015 on sequences: a filter over time per channel, norm, mix, and a gain that is zero at birth."""

    def __init__(self, way: Route, *, kernel: int) -> None:
        super().__init__()
        into, out = way.channels_in, way.channels_out
        self.filter = nn.Conv1d(into, into, kernel_size=kernel, padding=kernel // 2, groups=into, bias=False)
        resized = way.grid_in != way.grid_out
        self.pool = nn.AdaptiveAvgPool1d(way.grid_out[0]) if resized else nn.Identity()
        self.norm = nn.GroupNorm(1, into)
        self.act = nn.GELU()
        self.mix = nn.Linear(into, out, bias=False)
        self.gain = ChannelGain(out, way.output_kind)

    def forward(self, sequence_BTC: Tensor) -> Tensor:
        """Return what to add to the host's features."""
        filtered_BCT = self.pool(self.filter(sequence_BTC.transpose(1, 2)))
        return self.gain(self.mix(self.act(self.norm(filtered_BCT)).transpose(1, 2)))


def depthwise_separable(way: Route, *, kernel: int) -> nn.Module:
    """Return the form of BP015 that *way* needs."""
    form = ImageDepthwise if way.output_kind == SITE_KIND_IMAGE else SequenceDepthwise
    return form(way, kernel=kernel)
