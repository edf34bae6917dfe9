"""An MLP-Mixer: one MLP over patches, one over channels, in turns."""

from torch import Tensor, nn

from tests.journeys.zoo.data import classified, images
from tests.journeys.zoo.host import Grown, Host


class MixerBlock(nn.Module):
    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.tokens_mlp = nn.Sequential(nn.Linear(tokens, 8), nn.GELU(), nn.Linear(8, tokens))
        self.channels_mlp = nn.Sequential(nn.Linear(width, 8), nn.GELU(), nn.Dropout(0.1), nn.Linear(8, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.tokens_mlp(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return x + self.channels_mlp(self.norm2(x))


class Mixer(nn.Module):
    def __init__(self, width: int = 10, depth: int = 2) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, width, 2, stride=2)
        self.blocks = nn.Sequential(*(MixerBlock(16, width) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 10)

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(images).flatten(2).transpose(1, 2)
        return self.head(self.norm(self.blocks(x)).mean(dim=1))


HOST = Host(
    build=Mixer,
    kept=Grown(("blocks.0", "head"), "blocks.0 -> head", "BP021"),
    culled=Grown("blocks.1.tokens_mlp", "blocks.1.tokens_mlp", "BP002"),
    data=images,
    loss=classified,
    kill_at_step=104,
)
