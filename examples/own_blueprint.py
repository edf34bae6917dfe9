"""Grow a block of your own in a network that is too narrow for handwritten digits: `python examples/own_blueprint.py`.

The digits are scikit-learn's: 1,797 images of 8 x 8 pixels. Nothing is left behind, as the log is in memory; the kernel
that was grown from lies in a temporary folder, which goes with it.
"""

from tempfile import TemporaryDirectory

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

import esper

# Dimensions: B samples, D features.

TRAIN, BATCH, EPOCHS, LEARNING_RATE = 1400, 32, 16, 1e-2


@esper.blueprint("sine", kinds=["vector"], bounds={"units": (4, 128), "frequency": (0.1, 10.0)})
class Sine(nn.Module):
    """The sines of `units` linear maps, and a linear map of those that begins at zero."""

    def __init__(self, kind: str, width: int, output_width: int, *, units: int = 32, frequency: float = 1.0) -> None:
        super().__init__()
        self.frequency = frequency
        self.into, self.out = nn.Linear(width, units), nn.Linear(units, output_width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, features_BD: Tensor) -> Tensor:
        """Return what to add to the host's features."""
        return self.out(torch.sin(self.frequency * self.into(features_BD)))


def main(epochs: int = EPOCHS) -> list[str]:
    """Train for *epochs*, print how far its one slot has come, and return the blueprints whose seeds were kept."""
    torch.manual_seed(0)
    pixels, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(pixels / 16, dtype=torch.float32), torch.tensor(labels)
    model = esper.wrap(nn.Sequential(nn.Linear(64, 2), nn.Tanh(), nn.Linear(2, 10)), sites=[("0", "2")])
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE)

    def evaluate(network: nn.Module) -> dict[str, float]:
        with torch.no_grad():
            logits = network(x[TRAIN:])
        right = (logits.argmax(1) == y[TRAIN:]).double().mean()
        return {"score": float(right), "loss": float(F.cross_entropy(logits, y[TRAIN:]))}

    with TemporaryDirectory() as folder:
        with esper.attach(model, optimizer, evaluate=evaluate, log="memory", folder=folder) as session:
            for _ in range(epochs):
                for rows in torch.randperm(TRAIN).split(BATCH):
                    loss = F.cross_entropy(model(x[rows]), y[rows])
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    session.step(loss)
                facts = session.end_epoch()
                print(f"epoch {facts.at.epoch}, accuracy {facts.score:.3f}, {', '.join(session.stages.values())}")
        return [kept.blueprint_id for kept in session.summary.kept] if session.summary else []


if __name__ == "__main__":
    print("kept:", ", ".join(main()) or "nothing")
