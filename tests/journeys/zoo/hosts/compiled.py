"""A network that its author gives to torch.compile."""

from torch import nn

from tests.journeys.zoo.data import classified, rows
from tests.journeys.zoo.host import Grown, Host


def perceptron() -> nn.Sequential:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 6), nn.LayerNorm(6), nn.GELU(), nn.Dropout(0.1), nn.Linear(6, 8), nn.Linear(8, 10)
    )


HOST = Host(
    build=perceptron,
    kept=Grown(("1", "6"), "1 -> 6", "BP021"),
    culled=Grown("5", "5", "BP002"),
    data=rows,
    loss=classified,
    kill_at_step=168,
    compiled=True,
)
