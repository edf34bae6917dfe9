"""A small U-Net with two skips that takes noise out of images."""

import torch
from torch import Tensor, nn

from tests.journeys.zoo.data import noised, restored
from tests.journeys.zoo.host import Grown, Host


def double_conv(inside: int, outside: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, padding=1),
        nn.BatchNorm2d(outside),
        nn.ReLU(inplace=True),
        nn.Conv2d(outside, outside, 3, padding=1),
        nn.BatchNorm2d(outside),
        nn.ReLU(inplace=True),
    )


class UNet(nn.Module):
    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.down1, self.down2 = double_conv(1, width), double_conv(width, 2 * width)
        self.bottom = double_conv(2 * width, 2 * width)
        self.pool = nn.MaxPool2d(2)
        self.up2 = nn.ConvTranspose2d(2 * width, 2 * width, 2, stride=2)
        self.conv2 = double_conv(4 * width, width)
        self.up1 = nn.ConvTranspose2d(width, width, 2, stride=2)
        self.conv1 = double_conv(2 * width, width)
        self.out = nn.Conv2d(width, 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        first = self.down1(images)
        second = self.down2(self.pool(first))
        bottom = self.bottom(self.pool(second))
        up = self.conv2(torch.cat([self.up2(bottom), second], dim=1))
        return self.out(self.conv1(torch.cat([self.up1(up), first], dim=1)))


HOST = Host(
    build=UNet,
    kept=Grown("conv1", "conv1", "BP009"),
    culled=Grown("bottom", "bottom", "BP002"),
    data=noised,
    loss=restored,
    kill_at_step=262,
)
