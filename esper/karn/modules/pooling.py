"""What looks at a coarser grid and comes back: pooling, and a pyramid of grids."""

from collections.abc import Iterable

from torch import Tensor, nn

from esper.karn.modules.layers import ChannelGain, OnGrid, coarser, convolution, finer
from esper.karn.route import Route
from esper.karn.widths import halved
from esper.leyline.v1.enums_pb2 import SITE_KIND_IMAGE


class MixedMaxPool(OnGrid):
    """BP007: x + g (greatest of the neighbours - x), at every position; the gain g is zero at birth."""

    def __init__(self, way: Route, *, kernel: int) -> None:
        super().__init__(way)
        form = nn.MaxPool2d if way.input_kind == SITE_KIND_IMAGE else nn.MaxPool1d
        self.pool = form(kernel, stride=1, padding=kernel // 2)
        self.gain = ChannelGain(way.channels_out, way.output_kind)

    def forward(self, features: Tensor) -> Tensor:
        """Return what replaces the host's features."""
        return features + self.gain(self.leave(self.pool(self.enter(features))) - features)


class PooledContext(OnGrid):
    """BP026: averages down to `size` positions a side, mixes channels there, and repeats the result; gain zero."""

    def __init__(self, way: Route, *, size: int) -> None:
        super().__init__(way)
        self.pool = coarser(way.input_kind, [min(size, extent) for extent in way.grid_in])
        self.mix = convolution(way.input_kind, way.channels_in, way.channels_out, 1)
        self.back = finer(way.grid_in)
        self.gain = ChannelGain(way.channels_out, way.output_kind)

    def forward(self, features: Tensor) -> Tensor:
        """Return what to add to the host's features."""
        return self.gain(self.leave(self.back(self.mix(self.pool(self.enter(features))))))


class FeaturePyramid(OnGrid):
    """BP027 (after Lin et al. 2017): ever coarser grids, a lateral map from each, summed from the top down."""

    def __init__(self, way: Route, *, levels: int, width: int) -> None:
        super().__init__(way)
        grids = [way.grid_in]
        while len(grids) < levels:
            grids.append(halved(grids[-1]))
        kind = way.input_kind
        self.laterals = nn.ModuleList(convolution(kind, way.channels_in, width, 1) for _ in grids)
        self.pools = nn.ModuleList(coarser(kind, grid) for grid in grids[1:])
        self.backs = nn.ModuleList(finer(grid) for grid in grids[:-1])
        self.smooth = convolution(kind, width, width, 3)
        self.act = nn.GELU()
        self.out = convolution(kind, width, way.channels_out, 1)

    def zero_at_birth(self) -> Iterable[Tensor]:
        """Return the last map."""
        return (self.out.weight,)

    def forward(self, features: Tensor) -> Tensor:
        """Return what to add to the host's features."""
        seen = [self.enter(features)]
        for pool in self.pools:
            seen.append(pool(seen[-1]))
        rows = [lateral(grid) for lateral, grid in zip(self.laterals, seen, strict=True)]
        top = rows[-1]
        for index in range(len(rows) - 2, -1, -1):
            top = rows[index] + self.backs[index](top)
        return self.leave(self.out(self.act(self.smooth(top))))
