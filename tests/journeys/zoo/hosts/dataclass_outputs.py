"""An encoder in the style of Hugging Face: blocks and model return dataclasses."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

import esper
from tests.journeys.zoo.data import classified, rows
from tests.journeys.zoo.host import Grown, Host


@dataclass
class LayerOutput:
    hidden_states: Tensor
    attentions: Tensor | None = None


@dataclass
class ClassifierOutput:
    logits: Tensor
    hidden_states: Tensor


class Layer(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, 2, dropout=0.1, batch_first=True)
        self.intermediate = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, hidden_states: Tensor, output_attentions: bool = False) -> LayerOutput:
        mixed, weights = self.attention(hidden_states, hidden_states, hidden_states, need_weights=output_attentions)
        hidden_states = self.norm1(hidden_states + mixed)
        return LayerOutput(self.norm2(hidden_states + self.intermediate(hidden_states)), weights)


class Classifier(nn.Module):
    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.embeddings = nn.Linear(8, width)
        self.position = nn.Parameter(torch.randn(8, width) * 0.02)
        self.layer = nn.ModuleList(Layer(width) for _ in range(2))
        self.classifier = nn.Linear(width, 10)

    def forward(self, rows: Tensor) -> ClassifierOutput:
        hidden_states = self.embeddings(rows) + self.position
        for layer in self.layer:
            hidden_states = layer(hidden_states).hidden_states
        return ClassifierOutput(self.classifier(hidden_states.mean(dim=1)), hidden_states)


HOST = Host(
    build=Classifier,
    kept=Grown(("embeddings", "classifier"), "embeddings -> classifier", "BP021"),
    culled=Grown(esper.site("layer.0", output="hidden_states"), "layer.0[hidden_states]", "BP002"),
    data=rows,
    loss=classified,
    kill_at_step=225,
    refused="BakeRefused: cannot bake: its forward pass calls",
)
