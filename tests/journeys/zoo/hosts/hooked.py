"""A network whose author hung hooks into it: statistics of what flows, and noise in training."""

from typing import Any

import torch
from torch import Tensor, nn

from tests.journeys.zoo.data import classified, images
from tests.journeys.zoo.host import Grown, Host


class Hooked(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3, padding=1), nn.ReLU()
        )
        self.head = nn.Linear(6 * 16, 10)
        self.register_buffer("activity", torch.zeros(6))
        self.register_buffer("largest_gradient", torch.zeros(()))
        self.handles = [
            self.features.register_forward_hook(self._noisy),
            self.features.register_forward_hook(self._note),
            self.head.register_full_backward_hook(self._note_gradient),
        ]

    def _noisy(self, module: nn.Module, _: Any, output: Tensor) -> Tensor:
        return output + 0.05 * torch.randn_like(output) if module.training else output

    def _note(self, module: nn.Module, _: Any, output: Tensor) -> None:
        if module.training:
            self.activity.mul_(0.9).add_(output.detach().mean((0, 2, 3)), alpha=0.1)

    def _note_gradient(self, _: nn.Module, __: Any, gradients: tuple[Tensor, ...]) -> None:
        self.largest_gradient.copy_(torch.maximum(self.largest_gradient, gradients[0].abs().max()))

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images).flatten(1))


def take_hooks_off(model: nn.Module) -> None:
    """In use the network needs none of them."""
    assert isinstance(model, Hooked)
    for handle in model.handles:
        handle.remove()


HOST = Host(
    build=Hooked,
    kept=Grown(("features.0", "head"), "features.0 -> head", "BP009"),
    culled=Grown("features", "features", "BP002"),
    data=images,
    loss=classified,
    kill_at_step=176,
    refused="UnwrapRefused: cannot unwrap: features has a hook of yours",
    instead=take_hooks_off,
)
