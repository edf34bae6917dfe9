"""The loop in the README runs as it stands, on a model and data that the demo does not use."""

import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_breast_cancer
from torch import nn

ROOT = Path(__file__).resolve().parents[2]


class TumourNet(nn.Module):
    """A narrow network for 30 measurements of a cell sample."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Linear(30, 2), nn.ReLU(), nn.Linear(2, 2), nn.ReLU())
        self.head = nn.Linear(2, 2)

    def forward(self, cells_ND):
        return self.head(self.features(cells_ND))


def readme_loop():
    (block,) = re.findall(r"```python\n(import esper\n.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    return compile(block, "README.md", "exec")


@pytest.fixture
def scene(tmp_path, monkeypatch):
    """Everything that the README's loop leaves to its reader."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    features, labels = load_breast_cancer(return_X_y=True)
    cells_ND = torch.tensor((features - features.mean(0)) / features.std(0), dtype=torch.float32)
    labels_N = torch.tensor(labels)
    net = TumourNet()

    def accuracy(model):
        return float((model(cells_ND[400:]).argmax(1) == labels_N[400:]).float().mean())

    train = list(zip(cells_ND[:400].split(16), labels_N[:400].split(16), strict=True))
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2)
    return {"net": net, "optimizer": optimizer, "accuracy": accuracy, "train": train, "F": F, "cells": cells_ND}


def test_the_loop_of_the_readme_trains_reports_and_unwraps(scene, capsys):
    before = list(scene["net"].state_dict())
    exec(readme_loop(), scene)  # noqa: S102 - the README's own text
    assert scene["session"].epoch == 20
    assert f"run {scene['session'].run_id}" in capsys.readouterr().out
    assert list(scene["grown"].state_dict())[: len(before)] == before
    assert scene["accuracy"](scene["grown"]) > 0.9
    assert (Path(".esper") / "key").is_file()
