"""Squeeze and excitation."""

from torch import Tensor, nn

from esper.karn.route import Route
from esper.leyline.v1.enums_pb2 import SITE_KIND_IMAGE


class ImageExcitation(nn.Module):
    """BP016 on images (Hu et al. 2018): channels times 2 sigmoid(f(mean over pixels)); f is zero at birth."""

    def __init__(self, way: Route, *, hidden: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.squeeze = nn.Conv2d(way.channels_out, hidden, kernel_size=1)
        self.act = nn.ReLU()
        self.excite = nn.Conv2d(hidden, way.channels_out, kernel_size=1)
        self.gate = nn.Sigmoid()

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """Return what replaces the host's features."""
        return image_BCHW * (self.gate(self.excite(self.act(self.squeeze(self.pool(image_BCHW))))) * 2.0)


class SequenceExcitation(nn.Module):
    """BP016 on sequences: channels times 2 sigmoid(f(mean over time)); f is zero at birth."""

    def __init__(self, way: Route, *, hidden: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(way.channels_out, hidden)
        self.act = nn.ReLU()
        self.excite = nn.Linear(hidden, way.channels_out)
        self.gate = nn.Sigmoid()

    def forward(self, sequence_BTC: Tensor) -> Tensor:
        """Return what replaces the host's features."""
        mean_B1C = sequence_BTC.mean(dim=1, keepdim=True)
        return sequence_BTC * (self.gate(self.excite(self.act(self.squeeze(mean_B1C)))) * 2.0)


def excitation(way: Route, *, hidden: int) -> nn.Module:
    """Return the form of BP016 that *way* needs."""
    form = ImageExcitation if way.output_kind == SITE_KIND_IMAGE else SequenceExcitation
    return form(way, hidden=hidden)
