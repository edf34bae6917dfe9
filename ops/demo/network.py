"""The demo's host: a convolutional network that is far too small for its task, on purpose."""

from torch import Tensor, nn

# Dimensions: N samples, C channels, H height, W width, K classes.

SITES: list[str | tuple[str, str]] = ["features.*", ("features.0", "head")]


class SmallNet(nn.Module):
    """Two strided convolutions of *channels* channels and a linear head: an ordinary PyTorch module."""

    def __init__(self, image_size: tuple[int, int], channels: int = 2, classes: int = 10) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, channels, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
        )
        height, width = (((size + 1) // 2 + 1) // 2 for size in image_size)
        self.head = nn.Linear(channels * height * width, classes)

    def forward(self, images_NCHW: Tensor) -> Tensor:
        """Return the logits, (N, K)."""
        return self.head(self.features(images_NCHW).flatten(1))
