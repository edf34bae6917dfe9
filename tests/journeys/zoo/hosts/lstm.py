"""A classifier that reads an image row by row."""

from torch import Tensor, nn

from tests.journeys.zoo.data import classified, rows
from tests.journeys.zoo.host import Grown, Host


class LSTMClassifier(nn.Module):
    def __init__(self, hidden: int = 8) -> None:
        super().__init__()
        self.lstm = nn.LSTM(8, hidden, num_layers=2, dropout=0.1, batch_first=True)
        self.norm = nn.LayerNorm(hidden)
        self.fc = nn.Linear(hidden, 10)

    def forward(self, rows: Tensor) -> Tensor:
        output, _ = self.lstm(rows)
        return self.fc(self.norm(output[:, -1]))


HOST = Host(
    build=LSTMClassifier,
    kept=Grown(("lstm", "fc"), "lstm -> fc", "BP021"),
    culled=Grown("lstm", "lstm", "BP002"),
    data=rows,
    loss=classified,
    kill_at_step=212,
)
