"""Residual blocks, in the three forms that routes need."""

import math
from collections.abc import Iterator

from torch import Tensor, nn

from esper.karn.modules.layers import entrance, projection
from esper.karn.route import Route
from esper.karn.widths import BlockWidths
from esper.leyline.v1.enums_pb2 import SITE_KIND_IMAGE, SITE_KIND_VECTOR


def _linear_block(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.LayerNorm(width),
        nn.GELU(),
        nn.Linear(width, width, bias=False),
        nn.LayerNorm(width),
        nn.GELU(),
        nn.Linear(width, width, bias=False),
    )


def _image_block(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.GroupNorm(1, width),
        nn.GELU(),
        nn.Conv2d(width, width, kernel_size=3, padding=1, bias=False),
        nn.GroupNorm(1, width),
        nn.GELU(),
        nn.Conv2d(width, width, kernel_size=3, padding=1, bias=False),
    )


def _strided_stem(way: Route, widths: BlockWidths) -> nn.Conv2d:
    stride = (widths.stem_stride[0], widths.stem_stride[1])
    kernel = (stride[0] + 2, stride[1] + 2)
    return nn.Conv2d(way.channels_in, widths.width, kernel_size=kernel, stride=stride, padding=1, bias=False)


class ResidualBlocks(nn.Module):
    """BP009: the sum that `depth` pre-activation blocks add to their input; each block's last map is zero at birth."""

    def __init__(self, way: Route, *, depth: int) -> None:
        super().__init__()
        widths = BlockWidths.of(way)
        on_images = way.input_kind == SITE_KIND_IMAGE
        if way.preserving:
            self.stem: nn.Module = nn.Identity()
        else:
            first = _strided_stem(way, widths) if on_images else projection(way, widths.width, bias=False)
            self.stem = nn.Sequential(entrance(way), first)
        block = _image_block if on_images else _linear_block
        self.blocks = nn.ModuleList(block(widths.width) for _ in range(depth))

    def forward(self, features: Tensor) -> Tensor:
        """Return what to add to the host's features."""
        entered = self.stem(features)
        first, *others = self.blocks
        added = first(entered)
        for block in others:
            added = added + block(entered + added)
        return added

    def last_maps(self) -> Iterator[nn.Parameter]:
        """Yield the weights that are zero at birth."""
        for block in self.blocks:
            yield from list(block.parameters())[-1:]


class ImageToVectorBlocks(nn.Module):
    """BP009 from an image to a vector: strided stem, residual blocks, coarse grid, and a linear map, zero at birth."""

    def __init__(self, way: Route, *, depth: int) -> None:
        super().__init__()
        widths = BlockWidths.of(way)
        self.stem = _strided_stem(way, widths)
        self.blocks = nn.ModuleList(_image_block(widths.width) for _ in range(depth))
        self.pool = nn.AdaptiveAvgPool2d((widths.head_grid[0], widths.head_grid[1]))
        self.flatten = nn.Flatten()
        self.head = nn.Linear(widths.width * math.prod(widths.head_grid), way.channels_out)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """Return what to add to the host's features."""
        features = self.stem(image_BCHW)
        for block in self.blocks:
            features = features + block(features)
        return self.head(self.flatten(self.pool(features)))

    def last_maps(self) -> Iterator[nn.Parameter]:
        """Yield the weights that are zero at birth."""
        yield from self.head.parameters()


def residual_blocks(way: Route, *, depth: int) -> ResidualBlocks | ImageToVectorBlocks:
    """Return the form of BP009 that *way* needs."""
    to_vector = way.input_kind == SITE_KIND_IMAGE and way.output_kind == SITE_KIND_VECTOR
    return (ImageToVectorBlocks if to_vector else ResidualBlocks)(way, depth=depth)
