"""Normalisation over channels."""

from torch import Tensor, nn

from esper.karn.modules.layers import ChannelGain
from esper.karn.route import Route
from esper.leyline.v1.enums_pb2 import SITE_KIND_IMAGE


class MixedLayerNorm(nn.Module):
    """BP003: x + g (LN(x) - x) over the last dimension; the gain g is zero at birth."""

    def __init__(self, way: Route, *, epsilon: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(way.channels_out, eps=epsilon)
        self.gain = ChannelGain(way.channels_out, way.output_kind)

    def forward(self, features: Tensor) -> Tensor:
        """Return what replaces the host's features."""
        return features + self.gain(self.norm(features) - features)


class MixedImageNorm(nn.Module):
    """BP003 on images: the same over the channels of each pixel."""

    def __init__(self, way: Route, *, epsilon: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(way.channels_out, eps=epsilon)
        self.gain = ChannelGain(way.channels_out, way.output_kind)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """Return what replaces the host's features."""
        normed_BCHW = self.norm(image_BCHW.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return image_BCHW + self.gain(normed_BCHW - image_BCHW)


def mixed_norm(way: Route, *, epsilon: float) -> nn.Module:
    """Return the form of BP003 that *way* needs."""
    form = MixedImageNorm if way.output_kind == SITE_KIND_IMAGE else MixedLayerNorm
    return form(way, epsilon=epsilon)
