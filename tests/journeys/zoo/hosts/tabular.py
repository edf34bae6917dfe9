"""A network over the columns of a table, one of them categorical, with BatchNorm and dropout."""

import torch
from torch import Tensor, nn

from tests.journeys.zoo.data import classified, columns
from tests.journeys.zoo.host import Grown, Host


class TabularMLP(nn.Module):
    def __init__(self, width: int = 5) -> None:
        super().__init__()
        self.category = nn.Embedding(4, 3)
        self.net = nn.Sequential(
            nn.BatchNorm1d(67),
            nn.Linear(67, width),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Linear(width, 10),
        )

    def forward(self, numbers: Tensor, category: Tensor) -> Tensor:
        return self.net(torch.cat([numbers, self.category(category)], dim=1))


HOST = Host(
    build=TabularMLP,
    kept=Grown(("net.1", "net.6"), "net.1 -> net.6", "BP021"),
    culled=Grown("net.4", "net.4", "BP002"),
    data=columns,
    loss=classified,
    kill_at_step=199,
)
