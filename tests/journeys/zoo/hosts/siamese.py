"""Two images through one encoder: do they show the same digit?"""

from torch import Tensor, nn

from tests.journeys.zoo.data import classified, pairs
from tests.journeys.zoo.host import Grown, Host


class Siamese(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 6))
        self.head = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        return self.head((self.encoder(one) - self.encoder(other)).abs())


HOST = Host(
    build=Siamese,
    kept=Grown(("encoder.0", "encoder.2"), "encoder.0 -> encoder.2", "BP021"),
    culled=Grown("head.0", "head.0", "BP002"),
    data=pairs,
    loss=classified,
    kill_at_step=150,
    learning_rate=1e-2,
)
